package ws_test

import (
	"bytes"
	"fmt"

	"github.com/voicemill/voicemill/gateway/internal/ws"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

func frame(first byte, payload []byte) []byte { return corpus.Frame(first, payload) }

func fin(op ws.Opcode, payload string) []byte { return corpus.Final(corpus.Opcode(op), payload) }

func part(op ws.Opcode, payload string) []byte { return corpus.Part(corpus.Opcode(op), payload) }

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func said(op ws.Opcode, data string) string { return fmt.Sprintf("%x:%s", byte(op), data) }

// sayings spells events as play does.
func sayings(events []corpus.Event) []string {
	all := make([]string, 0, len(events))
	for _, e := range events {
		data := e.Data
		if e.Op == corpus.Close {
			data = fmt.Sprintf("%d %s", e.Code, e.Data)
		}
		all = append(all, said(ws.Opcode(e.Op), data))
	}
	return all
}

const maxMessage = corpus.MaxMessage
