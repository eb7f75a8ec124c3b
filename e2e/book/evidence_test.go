package book_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// evidence is what is known of a segment in which other words were heard.
type evidence struct {
	text  string
	heard string // by the ear
	again string // in the same audio, by a wider search
	other string // by the ear, of another voice with the same phonemes; may be empty
}

// whose says at whom the evidence points: what half as many words are wrong in is right.
func (e evidence) whose() string {
	first := heardErrors(e.text, e.heard)
	switch {
	case 2*heardErrors(e.text, e.again) <= first:
		return "the ear's: a wider search hears the text in the same audio"
	case e.other != "" && 2*heardErrors(e.text, e.other) <= first:
		return "the voice's: another one says it from the same phonemes"
	case e.other != "" && 2*heardErrors(e.heard, e.other) <= first:
		return "ours or the ear's: two voices are heard alike, so look at the phonemes and at how the text is compared"
	}
	return "not clear: look at the phonemes"
}

// heardErrors counts the words to change from text to heard, spelling aside.
func heardErrors(text, heard string) int {
	a, b := heardWords(text), heardWords(heard)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			change := diagonal
			if x != y {
				change++
			}
			diagonal, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func heardWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(strings.NewReplacer("'", "", "’", "").Replace(s)), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func TestEvidencePointsAtSomebody(t *testing.T) {
	t.Parallel()
	const text = "The bishop closed the heavy door behind him."
	tests := map[string]struct {
		evidence
		want string
	}{
		"a wider search hears it":   {evidence{text, "The bishop closed a hairy day", text, ""}, "the ear's"},
		"another voice says it":     {evidence{text, "The bishop closed a hairy day", "The bishop closed a hairy day", text}, "the voice's"},
		"both are heard alike":      {evidence{text, "The fish hop rows the heavy door beside it", "The fish hop", "The fish hop rows the heavy door beside it"}, "ours"},
		"everything is heard apart": {evidence{text, "The fish hop rows", "A dish of stew with bread and more", "Nobody knows what any of that was"}, "not clear"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.True(t, strings.HasPrefix(test.whose(), test.want), test.whose())
		})
	}
	require.Equal(t, 2, heardErrors("It's one, two, three.", "its one too three four"))
}

// listener is an ear that searches wider and longer than a worker's.
type listener struct{ address string }

// newListener starts the server in the folder ear and ends it with the test.
func newListener(t *testing.T, ear, models string) listener {
	t.Helper()
	p := exec.Command(filepath.Join(ear, "bin", "python"), filepath.Join("..", "..", "deployments", "engines", "ear", "serve.py"), //nolint:noctx,gosec // the test ends it
		filepath.Join(models, "whisper-base"), "--port", "0", "--with-parent", "--beam", "5", "--tail", "-1")
	in, err := p.StdinPipe()
	require.NoError(t, err)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = in.Close()
		require.NoError(t, p.Wait())
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return listener{strings.TrimSpace(address)}
}

// hear returns what is said in a WAV.
func (l listener) hear(ctx context.Context, t *testing.T, audio []byte) string {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "segment.wav")
	require.NoError(t, err)
	_, err = file.Write(audio)
	require.NoError(t, err)
	require.NoError(t, form.WriteField("language", "en"))
	require.NoError(t, form.Close())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.address+"/v1/audio/transcriptions", &body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	var answer struct{ Text string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return answer.Text
}
