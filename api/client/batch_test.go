package client_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
)

func TestABatchThatIsCutIsSentAgainAndEachLineToldOnce(t *testing.T) {
	t.Parallel()
	var keys []string
	answer := func(lines int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			_ = http.NewResponseController(w).EnableFullDuplex()
			in := bufio.NewScanner(r.Body)
			for n := 1; in.Scan(); n++ {
				if n > lines {
					panic(http.ErrAbortHandler)
				}
				_, _ = fmt.Fprintf(w, `{"line":%d,"status":202,"id":"job_%s"}`+"\n", n, in.Text())
				_ = http.NewResponseController(w).Flush()
			}
		}
	}
	c, requests := scripted(t, problem(503, `{"title":"x"}`), answer(2), answer(2), answer(9))
	text := strings.NewReader("a\nb\nc\nd\n")
	var got []string
	err := c.SubmitBatch(t.Context(), text, text.Size(), client.SubmitOptions{}, func(l client.BatchLine) error {
		got = append(got, fmt.Sprintf("%d %s", l.Line, l.ID))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"1 job_a", "2 job_b", "3 job_c", "4 job_d"}, got)
	require.Equal(t, int32(4), requests.Load())
	require.Len(t, keys, 3)
	require.Equal(t, keys[0], keys[2], "one key for all")

	c, requests = scripted(t, problem(400, `{"title":"The body has no line","status":400}`))
	err = c.SubmitBatch(t.Context(), text, 0, client.SubmitOptions{}, nil)
	require.ErrorContains(t, err, "no line")
	require.Equal(t, int32(1), requests.Load())
}
