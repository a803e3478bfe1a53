package main

import (
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// step takes a message of another member from the input.
//
//go:wasmexport step
func step(h uint32) uint32 {
	g := at(h)
	m := &pb.Message{}
	if err := proto.Unmarshal(in, m); err != nil {
		return refuse(badMessage, err.Error())
	}
	if why := wrong(g, m); why != "" {
		return refuse(badMessage, why)
	}
	return give(g, m)
}

func give(g *group, m *pb.Message) uint32 {
	if m.GetType() == pb.MsgProp || m.GetType() == pb.MsgForgetLeader {
		return refuse(stepLocalMessage, "raft: proposals are not forwarded by messages")
	}
	return code(g.rn.Step(m))
}

// wrong says why a message cannot come from a member that runs this code; the library trusts its messages and
// would index past an end, take a message without a term for a local one, or store a log with holes.
func wrong(g *group, m *pb.Message) string {
	t := m.GetType()
	switch {
	case m.Type == nil:
		return "no type"
	case m.GetTo() != g.id:
		return fmt.Sprintf("message for %d", m.GetTo())
	case m.GetFrom() == 0 || m.GetFrom() > maxSafe:
		return fmt.Sprintf("message from %d", m.GetFrom())
	case m.GetFrom() == g.id:
		return "message from myself"
	case max(m.GetTerm(), m.GetLogTerm(), m.GetIndex(), m.GetCommit(), m.GetRejectHint()) > maxSafe-1<<20:
		return "a number is out of range"
	case len(m.GetResponses()) > 0:
		return "message with responses"
	}
	switch t {
	case pb.MsgReadIndex:
		if len(m.Entries) != 1 {
			return fmt.Sprintf("%s with %d entries", t, len(m.Entries))
		}
		return ""
	case pb.MsgProp, pb.MsgForgetLeader, pb.MsgTransferLeader:
		return ""
	case pb.MsgReadIndexResp:
		if len(m.Entries) != 1 {
			return fmt.Sprintf("%s with %d entries", t, len(m.Entries))
		}
	case pb.MsgApp:
		if why := wrongEntries(m); why != "" {
			return why
		}
	case pb.MsgSnap:
		if why := wrongSnapshot(m); why != "" {
			return why
		}
	}
	if m.GetTerm() == 0 && t > pb.MsgProp {
		return fmt.Sprintf("%s without a term", t)
	}
	return ""
}

func wrongEntries(m *pb.Message) string {
	index, term := m.GetIndex(), m.GetLogTerm()
	if term > m.GetTerm() {
		return fmt.Sprintf("entries after term %d in a message of term %d", term, m.GetTerm())
	}
	for _, e := range m.Entries {
		if e.GetIndex() != index+1 || e.GetTerm() < term || e.GetTerm() > m.GetTerm() || e.GetTerm() == 0 {
			return fmt.Sprintf("entry %d of term %d after entry %d of term %d in a message of term %d",
				e.GetIndex(), e.GetTerm(), index, term, m.GetTerm())
		}
		index, term = e.GetIndex(), e.GetTerm()
	}
	return ""
}

func wrongSnapshot(m *pb.Message) string {
	meta := m.GetSnapshot().GetMetadata()
	if meta.GetIndex() == 0 || meta.GetIndex() > maxSafe || meta.GetTerm() == 0 || meta.GetTerm() > m.GetTerm() {
		return fmt.Sprintf("snapshot of index %d and term %d", meta.GetIndex(), meta.GetTerm())
	}
	cs := pb.EnsureConfState(meta.GetConfState())
	if len(cs.Voters) == 0 {
		return "snapshot without voters"
	}
	if _, _, err := restoreConf(cs, meta.GetIndex()); err != nil {
		return err.Error()
	}
	return ""
}

// Messages kept as objects, by slot number: between groups of one instance they need no encoding. A slot is held
// until it is released and may be delivered any number of times.
var slots, freeSlots = []*pb.Message{}, []uint32{}

func keep(m *pb.Message) uint32 {
	if n := len(freeSlots); n > 0 {
		slot := freeSlots[n-1]
		freeSlots = freeSlots[:n-1]
		slots[slot] = m
		return slot
	}
	slots = append(slots, m)
	return uint32(len(slots) - 1)
}

// step_slot delivers a kept message. The library may forward what it was given and write into it, so it gets a
// shallow copy; entries are shared, nobody writes into those.
//
//go:wasmexport step_slot
func stepSlot(h, slot uint32) uint32 {
	m := slots[slot]
	copied := &pb.Message{Type: m.Type, To: m.To, From: m.From, Term: m.Term, LogTerm: m.LogTerm, Index: m.Index,
		Entries: m.Entries[:len(m.Entries):len(m.Entries)], Commit: m.Commit, Vote: m.Vote, Snapshot: m.Snapshot,
		Reject: m.Reject, RejectHint: m.RejectHint, Context: m.Context}
	g := at(h)
	if m.GetTo() != g.id {
		return refuse(badMessage, fmt.Sprintf("message for %d", m.GetTo()))
	}
	return give(g, copied)
}

//go:wasmexport release_slot
func releaseSlot(slot uint32) {
	slots[slot] = nil
	freeSlots = append(freeSlots, slot)
}

// slot_bytes encodes a kept message into the output and returns its length.
//
//go:wasmexport slot_bytes
func slotBytes(slot uint32) uint32 {
	out = encode(out[:0], slots[slot])
	return uint32(len(out))
}
