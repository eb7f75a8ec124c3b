package enginesim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config configures a [Sim].
type Config struct {
	Dialect   string  // generic, vllm-omni or sglang-omni
	Cost      Cost    // nil: it costs nothing
	Speedup   float64 // so many times as fast as Cost says
	Rate      int     // Hz
	CPS       float64 // characters a second
	Noise     float64 // sigma of the logarithm of a text's length
	Runaways  float64 // share of texts whose model does not find its end: 2.8 times as long
	MaxTokens int     // 25 a second
	Batch     int     // most texts that a static engine, or one call of Triton's, has together
	Seed      uint64  // of chance
	Faults    Faults
	Crash     func() // what a crash does
}

// Validate reports settings that make no sense.
func (c Config) Validate() error {
	var errs []error
	if c.Dialect != "generic" && c.Dialect != "vllm-omni" && c.Dialect != "sglang-omni" {
		errs = append(errs, fmt.Errorf("dialect is %q; want generic, vllm-omni or sglang-omni", c.Dialect))
	}
	if !(c.Speedup > 0) || c.Rate < 1000 || !(c.CPS > 0) || !(c.Noise >= 0) || !(c.Runaways >= 0 && c.Runaways <= 1) || c.MaxTokens < tokensPerSecond || c.Batch < 1 {
		errs = append(errs, fmt.Errorf("speedup %g, rate %d, cps %g, noise %g, runaways %g, max tokens %d, batch %d: want more than 0, 1000 Hz, a share up to 1 and a second of tokens",
			c.Speedup, c.Rate, c.CPS, c.Noise, c.Runaways, c.MaxTokens, c.Batch))
	}
	return errors.Join(append(errs, c.Faults.validate())...)
}

// DefaultConfig is an engine that costs nothing and never fails.
func DefaultConfig() Config {
	return Config{Dialect: "vllm-omni", Speedup: 1, Rate: 24000, CPS: 15.2, MaxTokens: 750, Batch: 16, Seed: 1}
}

// Cost says how long an engine takes: [Static] or [Continuous].
type Cost interface{ cost() }

// Static is an engine that works on one batch at a time. A batch of n texts takes
// A + E·n + B·max + C·sum + D·n·max seconds, of the seconds of sound in it. It waits
// Wait for company.
type Static struct {
	A, B, C, D, E float64
	Wait          time.Duration
}

// Continuous is an engine that takes a text at any time and makes Curve(n) seconds of
// sound a second, all n texts that it has together. Points are in order of N; between
// them it is straight, beyond them flat.
type Continuous struct{ Curve []Point }

// Point is the goodput of an engine that has N texts.
type Point struct{ N, Goodput float64 }

func (Static) cost()     {}
func (Continuous) cost() {}

// at returns the goodput with n texts.
func (c Continuous) at(n int) float64 {
	x := float64(n)
	for i, p := range c.Curve {
		if x <= p.N {
			if i == 0 {
				return p.Goodput
			}
			q := c.Curve[i-1]
			return q.Goodput + (p.Goodput-q.Goodput)*(x-q.N)/(p.N-q.N)
		}
	}
	return c.Curve[len(c.Curve)-1].Goodput
}

// takes returns the seconds that a batch takes, by the seconds of its texts.
func (s Static) takes(seconds []float64) float64 {
	longest, sum, n := 0.0, 0.0, float64(len(seconds))
	for _, x := range seconds {
		longest, sum = max(longest, x), sum+x
	}
	return s.A + s.E*n + s.B*longest + s.C*sum + s.D*n*longest
}

// costs are the published tables: CosyVoice3 on an L20, offline, with the stock pipeline
// and with a padded one; CosyVoice2-DiT on an L20 behind Triton; CosyVoice3 on an H200 in
// SGLang-Omni; and the L20 with what many engines do when they are overdriven.
var costs = map[string]Cost{
	"instant":    nil,
	"l20-static": Static{A: .03, B: .073, C: .034, E: .018},
	"l20-padded": Static{A: .03, B: .073, D: .034, E: .018},
	"l20":        Continuous{Curve: []Point{{1, 8.1}, {2, 11.1}, {4, 13.5}, {8, 14.5}, {10, 14.1}}},
	"h200":       Continuous{Curve: []Point{{1, 5.86}, {2, 9.19}, {4, 13.16}, {8, 13.54}, {16, 14.6}}},
	"degrading":  Continuous{Curve: []Point{{1, 8.1}, {2, 11.1}, {4, 13.5}, {8, 14.5}, {10, 14.1}, {16, 12}, {32, 8}, {64, 5}}},
}

// ParseCost reads a cost: the name of a table, static:A,B,C,D, or continuous:N=goodput and
// so on.
func ParseCost(s string) (Cost, error) {
	if c, ok := costs[s]; ok {
		return c, nil
	}
	kind, list, _ := strings.Cut(s, ":")
	fields := strings.Split(list, ",")
	switch kind {
	case "static":
		var x [4]float64
		if len(fields) != len(x) {
			return nil, fmt.Errorf("cost %q has %d numbers; want A,B,C,D", s, len(fields))
		}
		for i, f := range fields {
			n, err := strconv.ParseFloat(f, 64)
			if err != nil || !(n >= 0) {
				return nil, fmt.Errorf("cost %q: %q is no cost", s, f)
			}
			x[i] = n
		}
		return Static{A: x[0], B: x[1], C: x[2], D: x[3]}, nil
	case "continuous":
		var c Continuous
		last := 0.0
		for _, f := range fields {
			a, b, _ := strings.Cut(f, "=")
			n, err1 := strconv.ParseFloat(a, 64)
			g, err2 := strconv.ParseFloat(b, 64)
			if err1 != nil || err2 != nil || !(n > last) || !(g > 0) {
				return nil, fmt.Errorf("cost %q: %q is no N=goodput after %g", s, f, last)
			}
			c.Curve, last = append(c.Curve, Point{n, g}), n
		}
		return c, nil
	}
	return nil, fmt.Errorf("cost is %q; want instant, l20, l20-static, l20-padded, h200, degrading, static:A,B,C,D or continuous:N=goodput,…", s)
}
