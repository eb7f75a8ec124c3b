// Command faulty is a helper that fails as the text of a request asks. It
// keeps the protocol otherwise.
package main

import (
	"os"
	"strings"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

func main() {
	r, w := wire.NewReader(os.Stdin), wire.NewWriter(os.Stdout)
	_ = w.WriteJSON(wire.TypeHello, wire.Hello{Version: wire.Version, Rate: 22050, Library: "faulty"})
	_ = w.Flush()
	for {
		_, body, err := r.Next()
		if err != nil {
			return
		}
		var q wire.Request[ask.Request]
		if err := wire.DecodeJSON(body, &q); err != nil {
			os.Exit(3)
		}
		fault, _, _ := strings.Cut(q.Body.Text, " ")
		answer(w, q, fault)
		_ = w.Flush()
	}
}

func answer(w *wire.Writer, q wire.Request[ask.Request], fault string) {
	audio := make([]byte, 22050)
	audio[0] = 1
	done := wire.Done{ID: q.ID, Samples: int64(len(audio) / 2), Code: wire.CodeOK}
	switch fault {
	case "crash":
		panic("fault on purpose")
	case "exit":
		os.Exit(0)
	case "hang":
		_, _ = os.Stdin.Read(make([]byte, 1)) // there is nothing to come
	case "garbage":
		_ = w.Flush()
		_, _ = os.Stdout.WriteString("HTTP/1.1 200 OK\r\n\r\n")
		return
	case "cut":
		_ = w.Write(wire.TypeAudio, audio)
		_ = w.Flush()
		os.Exit(0)
	case "miscount":
		done.Samples++
	case "stale":
		done.ID--
	case "odd":
		audio = audio[1:]
	case "flood":
		for {
			if w.Write(wire.TypeAudio, audio) != nil {
				os.Exit(0)
			}
		}
	case "silent":
		audio[0] = 0
	case "refuse":
		done = wire.Done{ID: q.ID, Code: wire.CodeSynth, Detail: "on purpose"}
		audio = nil
	}
	_ = w.Write(wire.TypeAudio, audio)
	_ = w.WriteJSON(wire.TypeDone, done)
}
