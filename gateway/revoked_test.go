package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
)

// madeKey makes a key over HTTP, as an administrator does.
func (w *world) madeKey() (id, secret string) {
	w.t.Helper()
	a := w.call("POST", "/v1/keys", `{"name":"watcher","scopes":["jobs:read"]}`)
	require.Equal(w.t, http.StatusCreated, a.Status, "%s", a.Body)
	var k struct{ ID, Secret string }
	require.NoError(w.t, json.Unmarshal(a.Body, &k))
	return k.ID, k.Secret
}

// watched opens a watch of every kind with a key, the last with sound that waits
// for the client.
func (w *world) watched(j job.ID, key string) (events *feed, live *socket, sound *raw) {
	w.t.Helper()
	path := "/v1/jobs/" + string(j)
	events = w.events(path+"/events", "Authorization", "Bearer "+key)
	events.event()
	live = w.ws(path+"/live", &websocket.DialOptions{
		Subprotocols: []string{"voicemill.v1.json"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}},
	})
	require.NotNil(w.t, live.hear().Hello)
	require.NotNil(w.t, live.hear().Event)
	sound = w.raw(w.t)
	_, err := sound.Write(framed(w.t, helloFrame(key, 16<<10), watchFrame(j, 1, 0)))
	require.NoError(w.t, err)
	for sound.hear().GetAudio() == nil {
		continue
	}
	return events, live, sound
}

// ends holds that all of them end, and that whoever is told is told why.
func (w *world) ends(events *feed, live *socket, sound *raw) {
	w.t.Helper()
	for events.next() != "" {
		continue
	}
	said := live.hear()
	require.NotNil(w.t, said.Problem)
	require.Equal(w.t, http.StatusUnauthorized, said.Problem.Status)
	code, _ := live.ended()
	require.Equal(w.t, websocket.StatusPolicyViolation, code)
	for {
		f := sound.hear()
		require.NotNil(w.t, f)
		if p := f.GetProblem(); p != nil {
			require.Equal(w.t, uint32(http.StatusUnauthorized), p.GetStatus())
			break
		}
	}
	_, err := sound.Write(framed(w.t, &voicemillv1.Frame{Stream: 2, Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{Id: "x"}}})[4:])
	require.NoError(w.t, err)
	require.Equal(w.t, uint32(http.StatusUnauthorized), sound.hear().GetProblem().GetStatus())
}

func TestAKeyThatIsRevokedEndsItsWatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Heartbeat, c.KeyCache = time.Hour, time.Hour })
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	w.planned(j, "chapter")
	w.render(j.ID, 1, tone(3*testRate, 300))
	id, key := w.madeKey()
	events, live, sound := w.watched(j.ID, key)
	require.Equal(t, http.StatusNoContent, w.call("DELETE", "/v1/keys/"+id, "").Status)
	w.ends(events, live, sound)
}

func TestAKeyThatIsRevokedElsewhereEndsItsWatchesToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Heartbeat, c.KeyCache = 100*time.Millisecond, 200*time.Millisecond })
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	j := w.take(1)[0]
	w.planned(j, "chapter")
	w.render(j.ID, 1, tone(3*testRate, 300))
	id, key := w.madeKey()
	events, live, sound := w.watched(j.ID, key)
	w.exec(`update api_keys set revoked_at = now() where id = $1`, id)
	_, err := sound.Write(framed(t, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Window{Window: &voicemillv1.Window{Bytes: 1 << 20}}})[4:])
	require.NoError(t, err)
	w.ends(events, live, sound)
}

func TestALiveWhoseWatchIsRefusedIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.KeyWatches = 1 })
	path := "/v1/jobs/" + string(w.submitted(hello))
	w.events(path + "/events").event()
	s := w.ws(path+"/live", nil)
	require.NotNil(t, s.hear().Hello)
	require.Equal(t, http.StatusTooManyRequests, s.hear().Problem.Status)
	code, reason := s.ended()
	require.Equal(t, websocket.StatusTryAgainLater, code)
	require.NotEmpty(t, reason)
}
