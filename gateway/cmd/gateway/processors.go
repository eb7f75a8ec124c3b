package main

import "runtime"

// spareProcessors gives Go's scheduler twice as many processors as it has cores,
// unless the environment says how many. A thread that carries a body keeps its
// processor while the kernel lets another process run in its place; an event loop
// whose sockets are ready should not have to wait for it. It is called once what
// is counted by cores has been built.
func spareProcessors(getenv func(string) (string, bool)) {
	if n, ok := getenv("GOMAXPROCS"); ok && n != "" {
		return
	}
	runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
}
