package main

import (
	"errors"
	"math/rand"
	"testing"

	raft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A twin keeps every entry there is and says what the storage must say.
type twin struct {
	offset  uint64
	terms   map[uint64]uint64
	last    uint64
	applied uint64
	sizes   map[uint64]int
}

func entryOf(index, term uint64, size int) *pb.Entry {
	return &pb.Entry{Index: &index, Term: &term, Data: make([]byte, size)}
}

func compare(t *testing.T, s *storage, w *twin) {
	t.Helper()
	if first, _ := s.FirstIndex(); first != w.offset+1 {
		t.Fatalf("first index %d, not %d", first, w.offset+1)
	}
	if last, _ := s.LastIndex(); last != w.last {
		t.Fatalf("last index %d, not %d", last, w.last)
	}
	for i := w.offset; i <= w.last; i++ {
		if term, err := s.Term(i); err != nil || term != w.terms[i] {
			t.Fatalf("term of %d is %d (%v), not %d", i, term, err, w.terms[i])
		}
	}
	if w.offset > 0 {
		if _, err := s.Term(w.offset - 1); !errors.Is(err, raft.ErrCompacted) {
			t.Fatalf("term before the log: %v", err)
		}
	}
	if _, err := s.Term(w.last + 1); !errors.Is(err, raft.ErrUnavailable) {
		t.Fatalf("term after the log: %v", err)
	}
	for lo := w.offset + 1; lo <= w.last; lo++ {
		entries, err := s.Entries(lo, w.last+1, maxSafe)
		if err != nil || len(entries) == 0 {
			t.Fatalf("entries from %d: %d (%v)", lo, len(entries), err)
		}
		for k, e := range entries {
			i := lo + uint64(k)
			if e.GetIndex() != i || e.GetTerm() != w.terms[i] || len(e.Data) != w.sizes[i] {
				t.Fatalf("entry %d/%d of %d bytes for %d/%d", e.GetIndex(), e.GetTerm(), len(e.Data), i, w.terms[i])
			}
		}
	}
	held := 0
	for _, e := range s.entries {
		held += cost(e)
	}
	if held != s.bytes {
		t.Fatalf("%d bytes are held, %d counted", held, s.bytes)
	}
	if s.bytes > s.keepBytes && s.start <= w.applied && len(s.entries) > 1 {
		t.Fatalf("%d bytes are held, %d allowed", s.bytes, s.keepBytes)
	}
}

// The host of the tests: whatever the twin has, it can read back, one entry at a time or more.
func hostOf(w *twin, r *rand.Rand) func(uint32, float64, float64, float64, uint32, uint32) int32 {
	return func(_ uint32, from, to, _ float64, _, size uint32) int32 {
		n := 1 + r.Intn(int(to-from))
		b := putNumber(nil, float64(n))
		for i := uint64(from); i < uint64(from)+uint64(n); i++ {
			b = putNumber(putNumber(putNumber(b, float64(w.terms[i])), float64(i)), 0)
			b = pad(append(putNumber(b, float64(w.sizes[i])), make([]byte, w.sizes[i])...))
		}
		if len(b) > int(size) {
			return -int32(len(b))
		}
		copy(scratch, b)
		return int32(len(b))
	}
}

func TestStorageAgreesWithItsTwin(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		w := &twin{terms: map[uint64]uint64{0: 0}, sizes: map[uint64]int{}}
		s := &storage{start: 1, canRead: seed%2 == 0, keepBytes: 200 + r.Intn(2000)}
		askHost = hostOf(w, r)
		term := uint64(1)
		for range 60 {
			act(r, s, w, &term)
			if !s.canRead {
				w.offset = s.offset // what it gave up by itself is checked by the bound alone
			}
			compare(t, s, w)
		}
	}
}

func stepAppend(r *rand.Rand, s *storage, w *twin, term uint64) {
	first := w.applied + 1 + uint64(r.Intn(int(w.last-w.applied)+1))
	var added []*pb.Entry
	for i := first; i < first+1+uint64(r.Intn(4)); i++ {
		w.terms[i], w.sizes[i], w.last = term, r.Intn(300), i
		added = append(added, entryOf(i, term, w.sizes[i]))
	}
	s.append(added)
	s.shrink()
}

func act(r *rand.Rand, s *storage, w *twin, term *uint64) {
	switch k := r.Intn(10); {
	case k < 5:
		// A leader of the same term never takes back: only a new term may overwrite.
		if r.Intn(3) == 0 || w.last > w.applied {
			*term++
		}
		stepAppend(r, s, w, *term)
	case k < 8:
		w.applied += uint64(r.Intn(int(w.last-w.applied) + 1))
		s.applied = w.applied
		s.shrink()
	case k == 8 && w.applied > w.offset:
		index := w.offset + 1 + uint64(r.Intn(int(w.applied-w.offset)))
		if err := s.compact(index); err != nil {
			panic(err)
		}
		w.offset = index
	case k == 9 && r.Intn(4) == 0:
		index := w.last + uint64(r.Intn(3))
		w.offset, w.last, w.applied = index, index, index
		w.terms[index] = *term
		s.restore(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: &index, Term: term}})
	}
}

func TestSnapshotsThatWouldBeIgnoredAreNotOffered(t *testing.T) {
	s := &storage{start: 1, keepBytes: 1 << 20}
	s.append([]*pb.Entry{entryOf(1, 1, 0), entryOf(2, 1, 0), entryOf(3, 1, 0)})
	s.applied = 3
	offered := func() bool {
		_, err := s.Snapshot()
		return err == nil
	}
	if offered() {
		t.Fatal("there is none")
	}
	if err := s.describe(2, &pb.ConfState{}, nil); err != nil || !offered() {
		t.Fatalf("%v", err)
	}
	if err := s.compact(3); err != nil || offered() || !s.wanted {
		t.Fatalf("a gap between snapshot and log: %v", err)
	}
	if err := s.describe(3, &pb.ConfState{}, nil); err != nil || !offered() || s.wanted {
		t.Fatalf("%v", err)
	}
	s.changed = 4
	if offered() {
		t.Fatal("older than the configuration")
	}
}
