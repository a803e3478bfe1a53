// Package main is etcd's Raft core (RawNode) behind a flat buffer interface, built as a WebAssembly reactor.
// It decides and remembers; it refuses to do I/O, to start timers and to keep a clock. Its host is ../core.ts.
//
// Calling convention: numbers travel as float64 (safe integers) or uint32. Byte strings for the core are written
// to the address that `input` or `fresh` returned; answers lie at `output` until the next call. Calls that can be
// refused return a code (0: done), the text of the last refusal is fetched with `failure`.
package main

import (
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"unsafe"

	raft "go.etcd.io/raft/v3"
)

// Codes of refusals, in the order of ../layout.ts.
const (
	okay uint32 = iota
	proposalDropped
	stepLocalMessage
	stepPeerNotFound
	compacted
	unavailable
	snapshotOutOfDate
	badMessage
	badConfig
)

// maxSafe is the largest integer that survives the way through a JavaScript number.
const maxSafe = 1<<53 - 1

// bufferKeptBytes is how large a buffer may stay when it is not needed any more.
const bufferKeptBytes = 4 << 20

// A group is one RawNode with its storage and the Ready that the host is working on.
type group struct {
	id    uint64
	rn    *raft.RawNode
	store *storage
	log   *journal
	rd    raft.Ready
	busy  bool // a Ready was handed out and not advanced yet
}

var (
	groups   = []*group{nil} // by handle; handles are never used again
	in       []byte          // reused for messages and options
	proposal []byte          // handed to the log as it is, so never reused
	out      = make([]byte, 0, 64<<10)
	numbers  [16]float64 // answers of fixed size: status, memory
	reason   string
)

func main() {}

func at(h uint32) *group {
	g := groups[h]
	if g == nil {
		panic("no such group")
	}
	return g
}

func address(b []byte) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// input gives room for n bytes that the next call will read.
//
//go:wasmexport input
func input(n uint32) uint32 {
	if uint32(cap(in)) < n || cap(in) > bufferKeptBytes && n <= bufferKeptBytes {
		in = make([]byte, n, n+n/2)
	}
	in = in[:n]
	return address(in)
}

// fresh gives room for a proposal of n bytes, aligned to 8, which then belongs to the log: no second copy.
//
//go:wasmexport fresh
func fresh(n uint32) uint32 {
	proposal = aligned(int(n))
	return address(proposal)
}

func aligned(n int) []byte {
	return make([]byte, n, (n+15)&^7)[:n:n]
}

//go:wasmexport output
func output() uint32 { return address(out[:cap(out)]) }

//go:wasmexport output_numbers
func outputNumbers() uint32 { return uint32(uintptr(unsafe.Pointer(&numbers[0]))) }

// failure puts the text of the last refusal into the output and returns its length.
//
//go:wasmexport failure
func failure() uint32 {
	out = append(out[:0], reason...)
	return uint32(len(out))
}

// refuse remembers why, for `failure`.
func refuse(code uint32, why string) uint32 {
	reason = why
	return code
}

// code names an error of the library; one that it is not documented to return is a bug and ends the instance.
func code(err error) uint32 {
	switch {
	case err == nil:
		return okay
	case errors.Is(err, raft.ErrProposalDropped):
		return refuse(proposalDropped, err.Error())
	case errors.Is(err, raft.ErrStepLocalMsg):
		return refuse(stepLocalMessage, err.Error())
	case errors.Is(err, raft.ErrStepPeerNotFound):
		return refuse(stepPeerNotFound, err.Error())
	case errors.Is(err, raft.ErrCompacted):
		return refuse(compacted, err.Error())
	case errors.Is(err, raft.ErrUnavailable):
		return refuse(unavailable, err.Error())
	case errors.Is(err, raft.ErrSnapOutOfDate):
		return refuse(snapshotOutOfDate, err.Error())
	}
	panic(err)
}

// collect_by sets the collector: percent below 0 turns the growth rule off, so that only the limit triggers it.
//
//go:wasmexport collect_by
func collectBy(percent int32, limitBytes float64) {
	debug.SetGCPercent(int(percent))
	if limitBytes > 0 {
		debug.SetMemoryLimit(int64(limitBytes))
	}
}

// reserve grows the linear memory once, before traffic: each later growth costs the host a full collection.
//
//go:wasmexport reserve
func reserve(bytes uint32) {
	b := make([]byte, bytes)
	runtime.KeepAlive(b)
	b = nil
	runtime.GC()
}

//go:wasmexport memory_stats
func memoryStats() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	numbers = [16]float64{float64(m.HeapAlloc), float64(m.HeapSys), float64(m.HeapInuse), float64(m.NumGC),
		float64(m.PauseTotalNs), float64(m.TotalAlloc)}
}

func putNumber(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

func putWord(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// pad fills up to the next multiple of 8.
func pad(b []byte) []byte {
	for len(b)&7 != 0 {
		b = append(b, 0)
	}
	return b
}

// A reader takes apart what the host wrote; the host is part of this package, so a short buffer is a bug.
type reader struct{ b []byte }

func (r *reader) number() float64 {
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

func (r *reader) integer() uint64 { return uint64(r.number()) }

func (r *reader) integers(n uint64) []uint64 {
	v := make([]uint64, n)
	for i := range v {
		v[i] = r.integer()
	}
	return v
}

// bytes reads a length and as many bytes, padded to 8, into memory of their own.
func (r *reader) bytes() []byte {
	n := int(r.number())
	b := aligned(n)
	copy(b, r.b[:n])
	r.b = r.b[(n+7)&^7:]
	return b
}
