package gateway_test

import (
	"bytes"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/wav"
)

// heard is the sound of a watch so far, and the events that came with it.
type heard struct {
	sound  []byte
	pieces []*voicemillv1.Audio
	events []*voicemillv1.Event
}

// listen reads frames until enough says so; every piece must be one of a segment
// in order.
func (c *raw) listen(t *testing.T, enough func(h *heard) bool) *heard {
	t.Helper()
	h := &heard{}
	segment := uint32(0)
	for !enough(h) {
		f := c.hear()
		require.NotNil(t, f, "the connection has ended")
		require.Nil(t, f.GetProblem())
		switch {
		case f.GetEvent() != nil:
			h.events = append(h.events, f.GetEvent())
		case f.GetAudio() != nil:
			a := f.GetAudio()
			require.LessOrEqual(t, len(a.GetPcm()), 64<<10)
			require.Equal(t, uint32(testRate), a.GetSampleRate())
			require.Equal(t, uint32(1), a.GetChapter())
			require.GreaterOrEqual(t, a.GetSegment(), segment)
			segment = a.GetSegment()
			h.sound = append(h.sound, a.GetPcm()...)
			h.pieces = append(h.pieces, a)
		}
	}
	return h
}

func watchFrame(id job.ID, stream, from uint32) *voicemillv1.Frame {
	return &voicemillv1.Frame{Stream: stream, Body: &voicemillv1.Frame_Watch{Watch: &voicemillv1.Watch{Id: string(id), Audio: true, FromSegment: from}}}
}

func helloFrame(key string, window uint32) *voicemillv1.Frame {
	return &voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer " + key, Window: window}}}
}

func sound(seconds float64, samples []int16) []byte {
	return wav.AppendSamples(make([]byte, 2*int(math.Round(seconds*testRate))), samples)
}

func (w *world) finish(id job.ID) {
	w.t.Helper()
	w.exec(`update chapters set state = 'ready', segments_done = segments_total, plan_digest = 'x', proof_digest = 'x', object_key = 'k', artifact = 'a' where job_id = $1`, id)
	w.exec(`update jobs set state = 'succeeded', chapters_ready = 1, plan_digest = 'x', proof_digest = 'x', finished_at = now(), version = version + 1 where id = $1`, id)
	w.bus.Hint(id, 0)
}

func TestAWatchHearsTheJobWhileItIsRendered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	c := w.raw(t)
	_, err := c.Write(framed(t, helloFrame(w.key, 0), watchFrame(j.ID, 7, 0)))
	require.NoError(t, err)
	require.NotNil(t, c.hear().GetHello())
	w.planned(j, "sentence", "paragraph", "chapter", "chapter")
	one, two, three, four := tone(3*testRate, 300), tone(testRate, 400), tone(5, 500), tone(6, 600)
	w.render(j.ID, 2, two)
	w.render(j.ID, 1, one)
	want := bytes.Join([][]byte{sound(0, one), sound(0.35, two)}, nil)
	h := c.listen(t, func(h *heard) bool { return len(h.sound) >= len(want) })
	require.True(t, bytes.Equal(want, h.sound), "the sound differs")
	require.NotEmpty(t, h.events, "progress comes besides")
	last := 0
	for _, p := range h.pieces {
		if p.GetLast() {
			last++
		}
	}
	require.Equal(t, 2, last, "the end of each segment is marked")

	w.render(j.ID, 3, three)
	w.render(j.ID, 4, four)
	w.finish(j.ID)
	h = c.listen(t, func(h *heard) bool {
		return len(h.sound) >= len(sound(0.7, three))+len(sound(1.5, four)) && len(h.events) > 0 && h.events[len(h.events)-1].GetState() == voicemillv1.State_STATE_SUCCEEDED
	})
	require.True(t, bytes.Equal(bytes.Join([][]byte{sound(0.7, three), sound(1.5, four)}, nil), h.sound), "the sound differs")
	// The call has ended, so its stream is free; from the third segment on, of a job that has ended.
	_, err = c.Write(framed(t, watchFrame(j.ID, 7, 3))[len(frame.Preface):])
	require.NoError(t, err)
	h = c.listen(t, func(h *heard) bool { return len(h.events) == 1 && len(h.sound) >= 10+len(sound(1.5, four)) })
	require.True(t, bytes.Equal(bytes.Join([][]byte{sound(0, three), sound(1.5, four)}, nil), h.sound), "the sound differs")
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watches 0") }, time.Minute, 10*time.Millisecond)
}

func TestTheClientOfFramesListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	w.render(j.ID, 1, tone(20*testRate, 300))
	c := w.frames(w.key)
	var got []byte
	var states []job.State
	err := c.Listen(t.Context(), j.ID, frames.ListenOptions{}, func(e jobdoc.Event) { states = append(states, e.State) }, func(s frames.Sound) {
		if len(got) == 0 {
			w.render(j.ID, 2, tone(20*testRate, 400))
			w.finish(j.ID)
		}
		require.Equal(t, testRate, s.SampleRate)
		got = append(got, s.PCM...)
	})
	require.NoError(t, err)
	want := bytes.Join([][]byte{sound(0, tone(20*testRate, 300)), sound(0.35, tone(20*testRate, 400))}, nil)
	require.True(t, bytes.Equal(want, got), "the sound differs")
	require.Equal(t, job.StateSucceeded, states[len(states)-1], "the last event comes after all of the sound")
}

func TestSoundWaitsForTheWindowAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	w.planned(j, "sentence", "none", "chapter")
	w.render(j.ID, 1, tone(9*testRate, 300))
	w.spoil(j.ID, 2)
	w.render(j.ID, 3, tone(9*testRate, 400))
	want := bytes.Join([][]byte{sound(0, tone(9*testRate, 300)), sound(0.35, tone(9*testRate, 400))}, nil)
	for _, window := range []uint32{2_000, 50_000, 0} {
		c := w.raw(t)
		_, err := c.Write(framed(t, helloFrame(w.key, window), watchFrame(j.ID, 1, 0)))
		require.NoError(t, err)
		require.NotNil(t, c.hear().GetHello())
		unread := 0
		var got []byte
		for len(got) < len(want) {
			f := c.hear()
			require.NotNil(t, f)
			if a := f.GetAudio(); a != nil {
				got = append(got, a.GetPcm()...)
			}
			unread += 4 + proto.Size(f)
			if window > 0 {
				require.LessOrEqual(t, unread, int(window), "no more than the window allows")
				if unread > int(window)/2 {
					_, err := c.Write(framed(t, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Window{Window: &voicemillv1.Window{Bytes: uint32(unread)}}})[len(frame.Preface):])
					require.NoError(t, err)
					unread = 0
				}
			}
		}
		require.True(t, bytes.Equal(want, got), "the sound differs")
		require.NoError(t, c.Close())
	}
}

func TestLiveIsHeardInJSONByABrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	w.render(j.ID, 1, tone(40_000, 300))
	s := w.ws("/v1/jobs/"+string(j.ID)+"/live?audio=1", nil)
	s.SetReadLimit(1 << 20)
	require.NotNil(t, s.hear().Hello)
	w.render(j.ID, 2, tone(10, 400))
	var got []byte
	for want := sound(0.35, tone(10, 400)); len(got) < 80_000+len(want); {
		m := s.hear()
		require.Nil(t, m.Problem)
		if m.Audio != nil {
			require.Equal(t, testRate, m.Audio.SampleRate)
			got = append(got, m.Audio.PCM...)
		}
	}
	require.True(t, bytes.Equal(bytes.Join([][]byte{sound(0, tone(40_000, 300)), sound(0.35, tone(10, 400))}, nil), got), "the sound differs")
	w.cancelInStore(j.ID)
	code, reason := s.ended()
	require.Equal(t, websocket.StatusNormalClosure, code, reason)

	events := "/v1/jobs/" + string(j.ID) + "/events"
	require.Equal(t, http.StatusBadRequest, w.call("GET", events+"?audio=1", "").Status, "server-sent events are text")
	require.Equal(t, http.StatusBadRequest, w.call("GET", events+"?audio=yes", "").Status)
	require.Equal(t, http.StatusBadRequest, w.call("GET", events+"?from_segment=x", "").Status)
}

func TestSoundOfAJobThatIsCancelledEndsWithItsLastEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	w.render(j.ID, 1, tone(500, 300))
	s := w.ws("/v1/jobs/"+string(j.ID)+"/live?audio=1", nil)
	s.SetReadLimit(1 << 20)
	for s.hear().Audio == nil {
	}
	w.cancelInStore(j.ID)
	code, reason := s.ended()
	require.Equal(t, websocket.StatusNormalClosure, code, reason)
}
