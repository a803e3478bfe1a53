package main

import (
	"fmt"
	"sort"

	raft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// storage is what raft.RawNode sees of the disk. It holds the newest entries, bounded by bytes; the terms of
// older ones as runs; and asks the host for the rest. Entries come in only at `advance`, when the host has them on
// disk, so whatever is dropped from here can be read back.
type storage struct {
	handle     uint32
	hardState  *pb.HardState
	confState  *pb.ConfState // as of the applied index at the start
	snapshot   *pb.Snapshot
	offset     uint64 // the last index that is gone for good; its term is kept for matching
	offsetTerm uint64
	last       uint64
	start      uint64 // index of entries[0]; last + 1 when none is held
	entries    []*pb.Entry
	runs       []run
	bytes      int
	keepBytes  int
	canRead    bool   // the host can read entries back
	applied    uint64 // what is not applied yet is never dropped: it would only be read back at once
	changed    uint64 // index of the last configuration change in force
	wanted     bool   // a follower needs a newer snapshot than there is
}

// run says that entries from index first on have this term, up to the next run. Terms never fall along the log.
type run struct{ first, term uint64 }

// entryOverheadBytes is what an entry costs beside its data: the struct, three boxed integers, the pointer to it.
const entryOverheadBytes = 160

func cost(e *pb.Entry) int { return len(e.Data) + entryOverheadBytes }

func (s *storage) InitialState() (*pb.HardState, *pb.ConfState, error) {
	return s.hardState, s.confState, nil
}

func (s *storage) FirstIndex() (uint64, error) { return s.offset + 1, nil }

func (s *storage) LastIndex() (uint64, error) { return s.last, nil }

func (s *storage) Term(i uint64) (uint64, error) {
	switch {
	case i == s.offset:
		return s.offsetTerm, nil
	case i < s.offset:
		return 0, raft.ErrCompacted
	case i > s.last:
		return 0, raft.ErrUnavailable
	case len(s.runs) > 0 && i >= s.runs[0].first:
		after := sort.Search(len(s.runs), func(k int) bool { return s.runs[k].first > i })
		return s.runs[after-1].term, nil
	}
	if read := s.readBack(i, i+1, 0); len(read) > 0 {
		return read[0].GetTerm(), nil
	}
	return 0, raft.ErrCompacted
}

func (s *storage) Entries(lo, hi, maxBytes uint64) ([]*pb.Entry, error) {
	if lo <= s.offset {
		return nil, raft.ErrCompacted
	}
	if hi > s.last+1 {
		return nil, raft.ErrUnavailable
	}
	if lo < s.start {
		read := s.readBack(lo, min(hi, s.start), maxBytes)
		if len(read) == 0 {
			s.forget(s.start - 1)
			return nil, raft.ErrCompacted
		}
		return read, nil
	}
	held := s.entries[lo-s.start : hi-s.start]
	size, n := uint64(0), 0
	for n < len(held) {
		size += uint64(proto.Size(held[n]))
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	// A copy: the library may keep the slice, while ours drops its oldest pointers.
	return append(make([]*pb.Entry, 0, n), held[:n]...), nil
}

// Snapshot never answers with one that leaves a gap to the log, nor with one from before the last configuration
// change, which a newcomer ignores because it is not named in it: either would be sent again and again.
func (s *storage) Snapshot() (*pb.Snapshot, error) {
	if s.snapshot == nil || s.snapshot.GetMetadata().GetIndex() < max(s.offset, s.changed) {
		s.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return proto.Clone(s.snapshot).(*pb.Snapshot), nil
}

// append takes entries that are on disk now, cutting off what they replace.
func (s *storage) append(added []*pb.Entry) {
	if len(added) == 0 {
		return
	}
	first := added[0].GetIndex()
	if first > s.last+1 || first <= s.offset {
		panic(fmt.Sprintf("entries from %d do not join a log of %d to %d", first, s.offset+1, s.last))
	}
	s.cut(first)
	for _, e := range added {
		if n := len(s.runs); n == 0 || s.runs[n-1].term != e.GetTerm() {
			s.runs = append(s.runs, run{e.GetIndex(), e.GetTerm()})
		}
		s.entries = append(s.entries, e)
		s.bytes += cost(e)
	}
	s.last = added[len(added)-1].GetIndex()
}

// cut removes the entries from index first on.
func (s *storage) cut(first uint64) {
	if first > s.last {
		return
	}
	if first < s.start {
		s.start, s.entries, s.bytes = first, nil, 0
	} else {
		for i := int(first - s.start); i < len(s.entries); i++ {
			s.bytes -= cost(s.entries[i])
			s.entries[i] = nil
		}
		s.entries = s.entries[:first-s.start]
	}
	for n := len(s.runs); n > 0 && s.runs[n-1].first >= first; n-- {
		s.runs = s.runs[:n-1]
	}
	s.last = first - 1
}

// shrink drops the oldest applied entries from memory until the bound is kept.
func (s *storage) shrink() {
	n := 0
	for bytes := s.bytes; bytes > s.keepBytes && n < len(s.entries)-1; n++ {
		if s.start+uint64(n) > s.applied {
			break
		}
		bytes -= cost(s.entries[n])
	}
	if n == 0 {
		return
	}
	if !s.canRead {
		s.forget(s.start + uint64(n) - 1)
		return
	}
	s.drop(n)
}

func (s *storage) drop(n int) {
	for i := range n {
		s.bytes -= cost(s.entries[i])
		s.entries[i] = nil
	}
	s.entries = s.entries[n:]
	s.start += uint64(n)
}

// forget gives up all entries up to index for good.
func (s *storage) forget(index uint64) {
	if index <= s.offset {
		return
	}
	term, err := s.Term(index)
	if err != nil {
		panic(fmt.Sprintf("the term of entry %d is not to be had: %v", index, err))
	}
	s.offset, s.offsetTerm = index, term
	if index >= s.start {
		s.drop(int(index - s.start + 1))
	}
	for len(s.runs) > 1 && s.runs[1].first <= index+1 {
		s.runs = s.runs[1:]
	}
	if len(s.runs) > 0 && s.runs[0].first <= index {
		s.runs[0].first = index + 1
	}
	if index == s.last {
		s.runs = nil
	}
}

// compact gives up entries up to index at the wish of the host, which may delete them from disk afterwards.
func (s *storage) compact(index uint64) error {
	if index <= s.offset {
		return raft.ErrCompacted
	}
	if index > s.applied {
		return raft.ErrUnavailable
	}
	s.forget(index)
	return nil
}

// restore replaces the whole log by a snapshot that the host has installed.
func (s *storage) restore(snapshot *pb.Snapshot) {
	meta := snapshot.GetMetadata()
	s.snapshot = proto.Clone(snapshot).(*pb.Snapshot)
	s.offset, s.offsetTerm = meta.GetIndex(), meta.GetTerm()
	s.last, s.start, s.entries, s.runs, s.bytes = s.offset, s.offset+1, nil, nil, 0
	s.applied = max(s.applied, s.offset)
}

// describe remembers the newest snapshot that laggards may be sent.
func (s *storage) describe(index uint64, confState *pb.ConfState, data []byte) error {
	if s.snapshot != nil && index <= s.snapshot.GetMetadata().GetIndex() {
		return raft.ErrSnapOutOfDate
	}
	if index > s.applied {
		return raft.ErrUnavailable
	}
	term, err := s.Term(index)
	if err != nil {
		return err
	}
	s.snapshot = &pb.Snapshot{Data: data, Metadata: &pb.SnapshotMetadata{ConfState: confState, Index: &index, Term: &term}}
	s.wanted = false
	return nil
}

// askHost is the import of host_wasm.go; tests of this package have a host of their own.
var askHost func(handle uint32, from, to, maxBytes float64, buffer, size uint32) int32

var scratch = make([]byte, 64<<10)

// readBack asks the host for entries [lo, hi), at least one, at most maxBytes. None: it does not have them.
func (s *storage) readBack(lo, hi, maxBytes uint64) []*pb.Entry {
	if !s.canRead || lo >= hi {
		return nil
	}
	limit := float64(min(maxBytes, maxSafe))
	n := askHost(s.handle, float64(lo), float64(hi), limit, address(scratch), uint32(len(scratch)))
	if n < 0 {
		scratch = make([]byte, -n)
		n = askHost(s.handle, float64(lo), float64(hi), limit, address(scratch), uint32(len(scratch)))
	}
	if n <= 0 {
		return nil
	}
	r := reader{scratch[:n]}
	read := readEntries(&r)
	if len(scratch) > bufferKeptBytes {
		scratch = make([]byte, 64<<10)
	}
	for i, e := range read {
		if e.GetIndex() != lo+uint64(i) || e.GetIndex() >= hi {
			panic(fmt.Sprintf("the host read back entry %d for %d", e.GetIndex(), lo+uint64(i)))
		}
	}
	return read
}

// readEntries decodes: count, then term, index, type, length, data padded to 8.
func readEntries(r *reader) []*pb.Entry {
	read := make([]*pb.Entry, r.integer())
	for i := range read {
		term, index, kind := r.integer(), r.integer(), pb.EntryType(r.integer())
		read[i] = &pb.Entry{Term: &term, Index: &index, Type: &kind, Data: r.bytes()}
	}
	return read
}
