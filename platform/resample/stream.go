package resample

// Stream converts a signal that comes in pieces: together they become what
// [Resampler.Resample] makes of the whole. It keeps as many samples as the filter
// reaches. It is not safe for concurrent use.
type Stream struct {
	r      *Resampler
	window []float32 // the input that is still needed
	base   int64     // which sample of the input window[0] is; negative before it
	sample int64     // of the input, at or before the time of the next output
	phase  int
	in     int64
	out    int64
}

// Stream returns a Stream at its beginning.
func (r *Resampler) Stream() *Stream {
	before := r.taps/2 - 1
	if r.up == r.down {
		before = 0
	}
	return &Stream{r: r, window: make([]float32, before), base: -int64(before)}
}

// Append converts a piece, appends to dst what is known of the output and
// returns it. The end of the output waits for more input or for [Stream.Flush].
func (s *Stream) Append(dst, src []int16) []int16 {
	s.in += int64(len(src))
	if s.r.up == s.r.down {
		s.out = s.in
		return append(dst, src...)
	}
	for _, v := range src {
		s.window = append(s.window, float32(v))
	}
	return s.drain(dst, s.out+int64(len(s.window))*int64(s.r.up)) // more than there can be
}

// Flush appends the end of the output, which it takes silence to follow. The
// Stream is then at its beginning again.
func (s *Stream) Flush(dst []int16) []int16 {
	if s.r.up != s.r.down {
		s.window = append(s.window, make([]float32, s.r.taps)...)
		dst = s.drain(dst, int64(s.r.Len(int(s.in))))
	}
	*s = *s.r.Stream()
	return dst
}

// drain makes output as long as there is input for it, and most samples of it in
// all at most.
func (s *Stream) drain(dst []int16, most int64) []int16 {
	r := s.r
	at := int(s.sample - s.base - int64(r.taps/2-1))
	for ; s.out < most && at+r.taps <= len(s.window); s.out++ {
		dst = append(dst, clip(dot(r.phases[s.phase*r.taps:(s.phase+1)*r.taps], s.window[at:at+r.taps])))
		s.phase += r.down
		at += s.phase / r.up
		s.sample += int64(s.phase / r.up)
		s.phase %= r.up
	}
	used := min(at, len(s.window))
	s.window = append(s.window[:0], s.window[used:]...)
	s.base += int64(used)
	return dst
}
