package main

import (
	raft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// Flags in the head of a Ready.
const (
	hasHardState = 1 << iota
	mustSync
	hasSnapshot
)

// early tells which messages may leave before this node's own disk write: what a leader tells its followers
// (Raft thesis, 10.2.1). Votes and acknowledgements never.
func early(t pb.MessageType) bool {
	return t == pb.MsgApp || t == pb.MsgHeartbeat || t == pb.MsgSnap || t == pb.MsgTimeoutNow
}

// ready leaves a Ready in the output and returns 1, or 0 if there is none. Data of entries is not copied: the
// Ready holds addresses, and the entries live at least until `advance`. With slots, messages stay objects.
//
//	head        entries, committed, messages, read states, flags, term, vote, commit     8 numbers
//	entry       term, index numbers; type, address, length, 0 words                      32 bytes
//	read state  index number; address, length words                                      16 bytes
//	snapshot    index, term numbers; address, length words; ConfState
//	message     to number; type, early, slot + 1, length words; bytes padded to 8        24 bytes + data
//
//go:wasmexport ready
func ready(h uint32, slots uint32) uint32 {
	g := at(h)
	if g.busy || !g.rn.HasReady() {
		return 0
	}
	rd := g.rn.Ready()
	g.rd, g.busy = rd, true
	flags := 0
	if !raft.IsEmptyHardState(rd.HardState) {
		flags |= hasHardState
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		flags |= hasSnapshot | mustSync // the library forgets that an acknowledged snapshot is a promise, too
	}
	if rd.MustSync {
		flags |= mustSync
	}
	if cap(out) > bufferKeptBytes {
		out = make([]byte, 0, 64<<10)
	}
	b := out[:0]
	for _, v := range [8]float64{float64(len(rd.Entries)), float64(len(rd.CommittedEntries)), float64(len(rd.Messages)),
		float64(len(rd.ReadStates)), float64(flags), float64(rd.HardState.GetTerm()), float64(rd.HardState.GetVote()),
		float64(rd.HardState.GetCommit())} {
		b = putNumber(b, v)
	}
	for _, e := range rd.Entries {
		b = putEntry(b, e)
	}
	for _, e := range rd.CommittedEntries {
		b = putEntry(b, e)
	}
	for _, s := range rd.ReadStates {
		b = putBytes(putNumber(b, float64(s.Index)), s.RequestCtx)
	}
	if flags&hasSnapshot != 0 {
		meta := rd.Snapshot.GetMetadata()
		b = putNumber(putNumber(b, float64(meta.GetIndex())), float64(meta.GetTerm()))
		b = putConfState(putBytes(b, rd.Snapshot.Data), meta.GetConfState())
	}
	for _, m := range rd.Messages {
		b = putMessage(b, m, slots != 0)
	}
	out = b
	return 1
}

func putEntry(b []byte, e *pb.Entry) []byte {
	b = putNumber(putNumber(b, float64(e.GetTerm())), float64(e.GetIndex()))
	return putWord(putBytes(putWord(b, uint32(e.GetType())), e.Data), 0)
}

// putBytes writes where bytes lie, not the bytes.
func putBytes(b []byte, data []byte) []byte {
	return putWord(putWord(b, address(data)), uint32(len(data)))
}

func putMessage(b []byte, m *pb.Message, slots bool) []byte {
	b = putNumber(b, float64(m.GetTo()))
	b = putWord(b, uint32(m.GetType()))
	mayLeave := uint32(0)
	if early(m.GetType()) {
		mayLeave = 1
	}
	b = putWord(b, mayLeave)
	if slots {
		return putWord(putWord(b, keep(m)+1), 0)
	}
	b = putWord(putWord(b, 0), 0)
	head := len(b)
	b = encode(b, m)
	n := len(b) - head
	b[head-4], b[head-3], b[head-2], b[head-1] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return pad(b)
}

func encode(b []byte, m *pb.Message) []byte {
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		panic(err)
	}
	return b
}

//go:wasmexport has_ready
func hasReady(h uint32) uint32 {
	if g := at(h); !g.busy && g.rn.HasReady() {
		return 1
	}
	return 0
}

// advance takes the Ready as persisted and applied.
//
//go:wasmexport advance
func advance(h uint32) {
	g := at(h)
	if !g.busy {
		return
	}
	rd := g.rd
	if !raft.IsEmptySnap(rd.Snapshot) {
		g.store.restore(rd.Snapshot)
	}
	if n := len(rd.CommittedEntries); n > 0 {
		g.store.applied = rd.CommittedEntries[n-1].GetIndex()
	}
	g.store.append(rd.Entries)
	g.store.shrink()
	g.busy, g.rd = false, raft.Ready{}
	g.rn.Advance(rd)
}

// status leaves id, role, term, vote, leader, commit, applied, transferee, first, last index, index of the
// snapshot, and whether a newer one is wanted in `numbers`.
//
//go:wasmexport status
func status(h uint32) {
	g := at(h)
	s := g.rn.BasicStatus()
	wanted := 0.0
	if g.store.wanted {
		wanted = 1
	}
	numbers = [16]float64{float64(s.ID), float64(s.RaftState), float64(s.GetTerm()), float64(s.GetVote()), float64(s.Lead),
		float64(s.GetCommit()), float64(s.Applied), float64(s.LeadTransferee), float64(g.store.offset + 1),
		float64(g.store.last), float64(g.store.snapshot.GetMetadata().GetIndex()), wanted}
}

// progress leaves the number of members and, per member, id, match, next, state, recently active, learner and
// pending snapshot in the output. Only a leader knows any.
//
//go:wasmexport progress
func progress(h uint32) {
	g := at(h)
	out = putNumber(out[:0], 0)
	if g.rn.BasicStatus().RaftState != raft.StateLeader {
		return
	}
	n := 0.0
	g.rn.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		n++
		flags := 0.0
		if p.RecentActive {
			flags += 1
		}
		if p.IsLearner {
			flags += 2
		}
		for _, v := range [6]float64{float64(id), float64(p.Match), float64(p.Next), float64(p.State), flags, float64(p.PendingSnapshot)} {
			out = putNumber(out, v)
		}
	})
	putNumber(out[:0], n)
}
