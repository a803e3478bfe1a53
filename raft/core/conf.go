package main

import (
	raft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// propose_conf_change reads from the input: transition, number of steps, per step type and id, context.
// Refused before it can enter the log is what could not be applied: the library would panic on every member then.
//
//go:wasmexport propose_conf_change
func proposeConfChange(h uint32) uint32 {
	g := at(h)
	r := reader{in}
	transition := pb.ConfChangeTransition(r.integer())
	cc := &pb.ConfChangeV2{Transition: &transition}
	for range r.integer() {
		kind, id := pb.ConfChangeType(r.integer()), r.integer()
		cc.Changes = append(cc.Changes, &pb.ConfChangeSingle{Type: &kind, NodeId: &id})
	}
	if context := r.bytes(); len(context) > 0 {
		cc.Context = context
	}
	if g.rn.BasicStatus().RaftState == raft.StateLeader {
		if err := rehearse(g, cc); err != nil {
			return refuse(badConfig, err.Error())
		}
	}
	g.log.ignored = ""
	if err := g.rn.ProposeConfChange(cc); err != nil {
		return code(err)
	}
	if g.log.ignored != "" {
		return refuse(proposalDropped, g.log.ignored)
	}
	return okay
}

// rehearse applies a change to a copy of the configuration in force. That copy is the one it will meet: the
// library refuses a change while another one is not applied yet.
func rehearse(g *group, cc *pb.ConfChangeV2) error {
	trk := tracker.MakeProgressTracker(1, 0)
	trk.Config = g.rn.Status().Config
	g.rn.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) { trk.Progress[id] = &p })
	changer := confchange.Changer{Tracker: trk, LastIndex: g.store.last}
	var err error
	if cc.LeaveJoint() {
		_, _, err = changer.LeaveJoint()
	} else if autoLeave, joint := cc.EnterJoint(); joint {
		_, _, err = changer.EnterJoint(autoLeave, cc.Changes...)
	} else {
		_, _, err = changer.Simple(cc.Changes...)
	}
	return err
}

// restoreConf checks that a ConfState can be restored, which the library does by panicking.
func restoreConf(cs *pb.ConfState, last uint64) (tracker.Config, tracker.ProgressMap, error) {
	return confchange.Restore(confchange.Changer{Tracker: tracker.MakeProgressTracker(1, 0), LastIndex: last}, cs)
}

// apply_conf_change takes the data of the committed entry at index, of the given type, from the input and leaves
// the new ConfState in the output.
//
//go:wasmexport apply_conf_change
func applyConfChange(h uint32, entryType uint32, index float64) uint32 {
	g := at(h)
	var cc pb.ConfChangeI
	if pb.EntryType(entryType) == pb.EntryConfChange {
		v1 := &pb.ConfChange{}
		if err := proto.Unmarshal(in, v1); err != nil {
			return refuse(badMessage, err.Error())
		}
		cc = v1
	} else {
		v2 := &pb.ConfChangeV2{}
		if err := proto.Unmarshal(in, v2); err != nil {
			return refuse(badMessage, err.Error())
		}
		cc = v2
	}
	if err := rehearse(g, cc.AsV2()); err != nil {
		return refuse(badConfig, err.Error())
	}
	out = putConfState(out[:0], g.rn.ApplyConfChange(cc))
	g.store.changed = max(g.store.changed, uint64(index))
	return okay
}

// conf_state leaves the configuration in force in the output.
//
//go:wasmexport conf_state
func confState(h uint32) {
	trk := tracker.ProgressTracker{Config: at(h).rn.Status().Config}
	out = putConfState(out[:0], trk.ConfState())
}

func readConfState(r *reader) *pb.ConfState {
	autoLeave := r.number() != 0
	n := [4]uint64{r.integer(), r.integer(), r.integer(), r.integer()}
	cs := &pb.ConfState{AutoLeave: &autoLeave}
	cs.Voters, cs.Learners = r.integers(n[0]), r.integers(n[1])
	cs.VotersOutgoing, cs.LearnersNext = r.integers(n[2]), r.integers(n[3])
	return cs
}

// putConfState encodes: auto leave, four lengths, then voters, learners, outgoing voters, next learners.
func putConfState(b []byte, cs *pb.ConfState) []byte {
	leave := 0.0
	if cs.GetAutoLeave() {
		leave = 1
	}
	b = putNumber(b, leave)
	lists := [4][]uint64{cs.GetVoters(), cs.GetLearners(), cs.GetVotersOutgoing(), cs.GetLearnersNext()}
	for _, ids := range lists {
		b = putNumber(b, float64(len(ids)))
	}
	for _, ids := range lists {
		for _, id := range ids {
			b = putNumber(b, float64(id))
		}
	}
	return b
}
