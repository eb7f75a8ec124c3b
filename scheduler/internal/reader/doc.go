// Package reader reads foreign documents in processes of their own.
//
// A manuscript comes from anybody, and a parser may need any amount of memory
// or time for it. So package manuscript runs in a child: the same program,
// started with one argument (see [IsChild]), without the parent's environment,
// with the lowest claim on the processor, and with bounds on memory, processor
// time and output. A child that goes beyond one of them is killed, and its
// document is refused with a sentence that names the bound. One that ends
// otherwise without an answer is a fault of ours.
//
//	parent                                child
//	  request ───────────────────────────▶
//	        ◀────────────── read (offset, n)     the upload stays the parent's
//	  bytes  ────────────────────────────▶
//	        ◀────────── opened (title, language)
//	        ◀────────────────────── part ...     up to 256 segments of a chapter
//	        ◀─────────────────────── end (fault)
//
// The parent owns the pipes and waits for the process; the child has nothing
// but the two. When the parent ends, the child does: its pipe is closed, and
// the bound on its processor time is the kernel's.
package reader
