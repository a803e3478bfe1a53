package main

import (
	"fmt"
	"strings"

	raft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// journal takes what the library would log. Kept is only the reason for which a configuration change was
// swallowed, because the library reports that nowhere else.
type journal struct{ ignored string }

func (j *journal) Debug(...any)            {}
func (j *journal) Debugf(string, ...any)   {}
func (j *journal) Error(...any)            {}
func (j *journal) Errorf(string, ...any)   {}
func (j *journal) Info(...any)             {}
func (j *journal) Warning(...any)          {}
func (j *journal) Warningf(string, ...any) {}
func (j *journal) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (j *journal) Panic(v ...any)          { panic(fmt.Sprint(v...)) }

func (j *journal) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (j *journal) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }

func (j *journal) Infof(format string, v ...any) {
	if strings.HasPrefix(format, "%x ignoring conf change") {
		j.ignored = fmt.Sprint(v[len(v)-1])
	}
}

// create starts a group from the options in the input, as written by ../layout.ts. It returns the handle, or 0.
//
//go:wasmexport create
func create() uint32 {
	r := reader{in}
	s := &storage{handle: uint32(len(groups))}
	c := raft.Config{Storage: s, CheckQuorum: true, PreVote: true, DisableProposalForwarding: true, StepDownOnRemoval: true}
	c.ID = r.integer()
	c.ElectionTick, c.HeartbeatTick = int(r.number()), int(r.number())
	c.MaxSizePerMsg, c.MaxUncommittedEntriesSize = r.integer(), r.integer()
	c.MaxInflightMsgs, c.MaxInflightBytes = int(r.number()), r.integer()
	c.Applied = r.integer()
	s.keepBytes, s.canRead = int(r.number()), r.number() != 0
	hardState := readHardState(&r)
	if r.number() != 0 {
		index, term := r.integer(), r.integer()
		conf := readConfState(&r)
		s.snapshot = &pb.Snapshot{Data: r.bytes(), Metadata: &pb.SnapshotMetadata{ConfState: conf, Index: &index, Term: &term}}
		s.offset, s.offsetTerm = index, term
	}
	s.confState = pb.EnsureConfState(s.snapshot.GetMetadata().GetConfState())
	if r.number() != 0 {
		s.confState, s.changed = readConfState(&r), c.Applied
	}
	if r.number() != 0 {
		s.offset, s.offsetTerm = r.integer(), r.integer()
	}
	entries := readEntries(&r)
	if why := s.load(entries, hardState, &c); why != "" {
		refuse(badConfig, why)
		return 0
	}
	return start(s, &c)
}

// load fills the storage from what was on disk; the answer is what is wrong with it. What is checked here would
// otherwise end the instance later, with a worse message.
func (s *storage) load(entries []*pb.Entry, hardState *pb.HardState, c *raft.Config) string {
	base := s.snapshot.GetMetadata().GetIndex()
	if s.offset > base && s.snapshot != nil {
		return fmt.Sprintf("the log begins after %d, but the snapshot ends at %d", s.offset, base)
	}
	s.last, s.start = s.offset, s.offset+1
	if len(entries) > 0 {
		first := entries[0].GetIndex()
		if first != s.offset+1 && !(s.canRead && first > s.offset) {
			return fmt.Sprintf("the first entry is %d, but the log begins at %d", first, s.offset+1)
		}
		s.last, s.start = first-1, first
		index, term := first-1, uint64(0)
		for _, e := range entries {
			if e.GetIndex() != index+1 || e.GetTerm() < term || e.GetTerm() == 0 {
				return fmt.Sprintf("entry %d of term %d follows entry %d of term %d", e.GetIndex(), e.GetTerm(), index, term)
			}
			index, term = e.GetIndex(), e.GetTerm()
		}
	}
	s.applied = max(c.Applied, base)
	if base > 0 || c.Applied > 0 {
		c.Applied = s.applied
	}
	s.append(entries)
	s.shrink()
	if s.last < base {
		return fmt.Sprintf("the log ends at %d, before its snapshot at %d", s.last, base)
	}
	if hardState == nil {
		lastTerm, err := s.Term(s.last)
		if err != nil {
			return fmt.Sprintf("the term of the last entry %d is not to be had", s.last)
		}
		if len(entries) > 0 {
			return "entries without a hard state: term and vote are lost"
		}
		hardState = hardStateOf(lastTerm, 0, base)
	}
	if lastTerm, err := s.Term(s.last); err == nil && lastTerm > hardState.GetTerm() {
		return fmt.Sprintf("the last entry is of term %d, the hard state of term %d", lastTerm, hardState.GetTerm())
	}
	commit := max(hardState.GetCommit(), base)
	if commit > s.last {
		return fmt.Sprintf("the log ends at %d, but %d was committed: entries are lost", s.last, commit)
	}
	if c.Applied > commit {
		return fmt.Sprintf("applied %d is beyond the committed %d", c.Applied, commit)
	}
	s.hardState = hardStateOf(hardState.GetTerm(), hardState.GetVote(), commit)
	return ""
}

func start(s *storage, c *raft.Config) uint32 {
	if why := refusedConfig(c); why != "" {
		refuse(badConfig, why)
		return 0
	}
	g := &group{id: c.ID, store: s, log: &journal{}}
	c.Logger = g.log
	if _, _, err := restoreConf(s.confState, s.last); err != nil {
		refuse(badConfig, err.Error())
		return 0
	}
	rn, err := raft.NewRawNode(c)
	if err != nil {
		refuse(badConfig, err.Error())
		return 0
	}
	g.rn = rn
	groups = append(groups, g)
	return s.handle
}

// refusedConfig repeats the library's own checks, which would panic.
func refusedConfig(c *raft.Config) string {
	switch {
	case c.ID == 0 || c.ID > maxSafe:
		return "the id must be between 1 and 2^53 - 1"
	case c.HeartbeatTick <= 0:
		return "heartbeatTicks must be greater than 0"
	case c.ElectionTick <= c.HeartbeatTick:
		return "electionTicks must be greater than heartbeatTicks"
	case c.MaxInflightMsgs <= 0:
		return "maxInflightMessages must be greater than 0"
	case c.MaxInflightBytes != 0 && c.MaxInflightBytes < c.MaxSizePerMsg:
		return "maxInflightBytes must be at least maxSizePerMessageBytes"
	}
	return ""
}

func hardStateOf(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

func readHardState(r *reader) *pb.HardState {
	if r.number() == 0 {
		return nil
	}
	return hardStateOf(r.integer(), r.integer(), r.integer())
}

//go:wasmexport destroy
func destroy(h uint32) { groups[h] = nil }

//go:wasmexport tick
func tick(h uint32) { at(h).rn.Tick() }

//go:wasmexport campaign
func campaign(h uint32) uint32 { return code(at(h).rn.Campaign()) }

// propose appends the bytes written to `fresh`.
//
//go:wasmexport propose
func propose(h uint32) uint32 {
	data := proposal
	proposal = nil
	return code(at(h).rn.Propose(data))
}

//go:wasmexport transfer_leadership
func transferLeadership(h uint32, to float64) { at(h).rn.TransferLeader(uint64(to)) }

//go:wasmexport forget_leader
func forgetLeader(h uint32) { code(at(h).rn.ForgetLeader()) }

// read_index asks for a read state; the bytes written to `fresh` come back with it.
//
//go:wasmexport read_index
func readIndex(h uint32) {
	context := proposal
	proposal = nil
	at(h).rn.ReadIndex(context)
}

//go:wasmexport report_unreachable
func reportUnreachable(h uint32, id float64) { at(h).rn.ReportUnreachable(uint64(id)) }

//go:wasmexport report_snapshot
func reportSnapshot(h uint32, id float64, done uint32) {
	status := raft.SnapshotFailure
	if done != 0 {
		status = raft.SnapshotFinish
	}
	at(h).rn.ReportSnapshot(uint64(id), status)
}

//go:wasmexport compact
func compact(h uint32, index float64) uint32 { return code(at(h).store.compact(uint64(index))) }

// create_snapshot reads a ConfState and a descriptor from the input.
//
//go:wasmexport create_snapshot
func createSnapshot(h uint32, index float64) uint32 {
	r := reader{in}
	conf := readConfState(&r)
	return code(at(h).store.describe(uint64(index), conf, r.bytes()))
}
