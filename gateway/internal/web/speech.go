package web

import (
	"context"
	"net/http"

	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/job"
)

// speak answers with the sound of a text.
func speak(ctx context.Context, c *Call) (*Answer, error) {
	var r operation.SpeechRequest
	shape, err := decode(c, c.s.speeches, &r)
	if err != nil {
		return nil, err
	}
	once := c.once()
	return nil, c.s.ops.Speak(ctx, &c.caller, &r, shape, &once, c.beginSpeech)
}

// beginSpeech begins to answer with the sound of a job.
func (c *Call) beginSpeech(media string, id job.ID) (operation.Outlet, error) {
	done, err := c.carry()
	if err != nil {
		return nil, err
	}
	out := c.Begin(&Answer{Status: http.StatusOK, ContentType: media, Location: jobPath + string(id)}, -1)
	if out == nil {
		done()
		return nil, errLeft
	}
	out.done = done
	return out, nil
}
