package http1_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

func TestFramingCannotBeReadInTwoWays(t *testing.T) {
	t.Parallel()
	cases := corpus.Smuggling()
	require.GreaterOrEqual(t, len(cases), 200)
	last := parsed{Method: "GET", Path: "/canary", Host: "h", KeepAlive: true}
	for name, test := range cases {
		require.Regexp(t, `^\d{4} \d+(\.\d+)*$`, test.RFC, name)
		for _, piece := range []int{1, 7, 1 << 20} {
			if len(test.Raw) > 32<<10 && piece == 1 {
				continue
			}
			t.Run(fmt.Sprintf("RFC %s %s in pieces of %d", test.RFC, name, piece), func(t *testing.T) {
				t.Parallel()
				got := feed(t, http1.DefaultLimits(), test.Raw+corpus.Canary, piece)
				if test.Status != 0 {
					if len(got) != 1 || got[0].Status != test.Status {
						t.Errorf("got %+v; want the status %d only", got, test.Status)
					}
					return
				}
				if len(got) < 2 || got[0].Status != 0 || got[0].Body != test.Body {
					t.Fatalf("got %+v; want one request with body %q and the canary", got, test.Body)
				}
				if diff := cmp.Diff([]parsed{last}, got[1:]); diff != "" {
					t.Errorf("after the first request (-want +got):\n%s", diff)
				}
			})
		}
	}
}
