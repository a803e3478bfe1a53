package main

// hostReadEntries writes entries [from, to) as readEntries takes them. It returns the bytes written, 0 if the host
// does not have them, or minus the bytes it needs room for; asked again with enough, it writes the same.
//
//go:wasmimport skep read_entries
func hostReadEntries(handle uint32, from, to, maxBytes float64, buffer, size uint32) int32

func init() { askHost = hostReadEntries }
