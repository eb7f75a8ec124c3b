package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/wav"
)

const testRate = 22050

// tone returns samples that nobody takes for silence.
func tone(n int, hertz float64) []int16 {
	samples := make([]int16, n)
	for i := range samples {
		samples[i] = int16(8000 * math.Sin(2*math.Pi*hertz*float64(i)/testRate))
	}
	return samples
}

// planned plays the scheduler: the job has a chapter of segments with these breaks.
func (w *world) planned(j bus.AcceptedJob, breaks ...string) {
	w.t.Helper()
	w.write(j)
	w.exec(`insert into chapters (job_id, ordinal, state, first_segment, segments_total, plan_digest) values ($1, 1, 'pending', 1, $2, '')`, j.ID, len(breaks))
	segments := make([]testkit.Segment, len(breaks))
	for i, b := range breaks {
		segments[i] = testkit.Segment{Text: "x", Break: b, Key: renditionKey(j.ID, i+1)}
	}
	testkit.PutSegments(w.t, w.db, j.ID, segments)
	w.exec(`update jobs set state = 'queued', segments_total = $2, chapters_total = 1, version = version + 1 where id = $1`, j.ID, len(breaks))
	w.bus.Hint(j.ID, 0)
}

func renditionKey(id job.ID, n int) []byte {
	key := sha256.Sum256(fmt.Appendf(nil, "%s %d", id, n))
	return key[:]
}

// render plays the worker: segment n sounds like this.
func (w *world) render(id job.ID, n int, samples []int16) {
	w.t.Helper()
	key := hex.EncodeToString(renditionKey(id, n))
	file, object := wav.Encode(testRate, samples), fmt.Sprintf("renditions/%s/%s/%s.wav", tenant, key[:2], key)
	_, err := w.bucket.Put(w.t.Context(), object, bytes.NewReader(file), int64(len(file)), blob.PutOptions{})
	require.NoError(w.t, err)
	w.exec(`insert into renditions (key, tenant, sample_rate, samples, bytes, sha256)
		select $1, num, $3, $4, $5, sha256('x') from tenants where id = $2`, renditionKey(id, n), tenant, testRate, len(samples), len(file))
	testkit.SetSegment(w.t, w.db, id, n, job.SegmentDone, 1, "", "")
	w.exec(`update jobs set state = 'running', segments_done = segments_done + 1, version = version + 1 where id = $1`, id)
	w.bus.Hint(id, 0)
}

func (w *world) spoil(id job.ID, n int) {
	w.t.Helper()
	testkit.SetSegment(w.t, w.db, id, n, job.SegmentFailed, 3, "engine", "no sound")
	w.exec(`update jobs set segments_failed = segments_failed + 1, version = version + 1 where id = $1`, id)
	w.bus.Hint(id, 0)
}

// spoken is an answer that comes in pieces.
type spoken struct {
	*http.Response
	leave context.CancelFunc
}

// speak asks for speech; the answer arrives on the channel when its head does.
func (w *world) speak(body string, headers ...string) chan spoken {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/audio/speech", strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	got := make(chan spoken, 1)
	go func() {
		resp, err := (&http.Client{Transport: w.checked(&http.Transport{DisableKeepAlives: true})}).Do(req) //nolint:bodyclose // the test closes it
		if err != nil {
			resp = &http.Response{Status: err.Error(), Body: http.NoBody}
		}
		got <- spoken{resp, cancel}
	}()
	return got
}

func (s spoken) problem(t *testing.T) (p struct {
	Type   string
	Status int
	Error  struct {
		Message, Type string
		Param, Code   *string
	}
},
) {
	t.Helper()
	raw, err := io.ReadAll(s.Body)
	require.NoError(t, err)
	require.Equal(t, "application/problem+json", s.Header.Get("Content-Type"), "%s", raw)
	require.NoError(t, json.Unmarshal(raw, &p))
	require.Equal(t, s.StatusCode, p.Status)
	require.NotEmpty(t, p.Error.Message)
	return p
}

func speech(format string) string {
	return `{"model":"tts-1","voice":"narrator-en","input":"One. Two. Three.","response_format":"` + format + `"}`
}

func TestSpeechComesAsItIsRenderedInReadingOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	answer := w.speak(speech("wav"))
	j := w.take(1)[0]
	require.Equal(t, job.Interactive, j.Spec.Class)
	require.Equal(t, "One. Two. Three.", j.Spec.Input.Text)
	require.Equal(t, "narrator-en", j.Spec.Voice)
	w.planned(j, "sentence", "paragraph", "chapter")
	one, two, three := tone(20_000, 300), tone(50_000, 400), tone(7, 500)
	w.render(j.ID, 2, two) // out of order: it waits for the first
	w.render(j.ID, 1, one)
	got := <-answer
	require.Equal(t, http.StatusOK, got.StatusCode, got.Status)
	require.Equal(t, "audio/wav", got.Header.Get("Content-Type"))
	require.Equal(t, "/v1/jobs/"+string(j.ID), got.Header.Get("Location"))
	require.Equal(t, []string{"chunked"}, got.TransferEncoding)

	want := wav.AppendSamples(wav.StreamHeader(testRate), one)
	want = wav.AppendSamples(append(want, make([]byte, 2*7717)...), two) // 0.35 s
	head := make([]byte, len(want))
	_, err := io.ReadFull(got.Body, head)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, head), "two segments are there while the third is not rendered")
	require.True(t, w.counts("voicemill_gateway_speeches 1"), "%s", w.metrics())
	w.render(j.ID, 3, three)
	rest, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Equal(t, wav.AppendSamples(make([]byte, 2*15435), three), rest, "0.7 s and the last segment, and no silence after it")

	var state string
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_speeches 0") }, time.Minute, 10*time.Millisecond)
	w.scan(`select state from jobs`, &state)
	require.Equal(t, "running", state, "a job that was heard to its end goes on to its artifacts")
	require.Contains(t, w.log.String(), fmt.Sprintf(`"bytes_out":%d`, len(want)+len(rest)))
}

func TestSpeechInEveryFormatIsTheWholeSpeech(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for format, c := range map[string]struct {
		media, codec, rate string
		seconds            float64
		speed              string
	}{
		"wav":  {"audio/wav", "pcm_s16le", "22050", 4.35, "1"},
		"pcm":  {"audio/pcm", "pcm_s16le", "24000", 4.35, "1.5"},
		"mp3":  {"audio/mpeg", "mp3", "22050", 4.35, "1"},
		"opus": {"audio/ogg", "opus", "48000", 4.35, "1"},
		"aac":  {"audio/aac", "aac", "22050", 4.35, "1"},
		"flac": {"audio/flac", "flac", "22050", 2.175, "4"}, // half of it is the voice's
	} {
		answer := w.speak(strings.Replace(speech(format), "{", `{"speed":`+c.speed+`,`, 1))
		j := w.take(1)[0]
		w.planned(j, "sentence", "chapter")
		w.render(j.ID, 1, tone(2*testRate, 300))
		w.render(j.ID, 2, tone(2*testRate, 400))
		got := <-answer
		require.Equal(t, http.StatusOK, got.StatusCode, "%s %s", format, got.Status)
		require.Equal(t, c.media, got.Header.Get("Content-Type"))
		body, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		codec, rate, seconds := listen(t, format, body)
		require.Equal(t, c.codec, codec)
		require.Equal(t, c.rate, rate)
		require.InDelta(t, c.seconds, seconds, 0.12, format) // encoders pad a frame or two
	}
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_transcodes 0") }, time.Minute, 10*time.Millisecond)
}

// listen decodes audio with ffmpeg and says what it is.
func listen(t *testing.T, format string, audio []byte) (codec, rate string, seconds float64) {
	t.Helper()
	var raw []string
	if format == "pcm" {
		raw = []string{"-f", "s16le", "-ar", "24000", "-ac", "1"}
	}
	run := func(name string, args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), name, append(append([]string{"-v", "error"}, raw...), args...)...)
		cmd.Stdin = bytes.NewReader(audio)
		out, err := cmd.Output()
		require.NoError(t, err, "%s is needed: apt-get install ffmpeg", name)
		return out
	}
	facts := strings.Split(strings.TrimSpace(string(run("ffprobe", "-of", "csv=p=0", "-show_entries", "stream=codec_name,sample_rate", "-i", "pipe:0"))), ",")
	samples := run("ffmpeg", "-i", "pipe:0", "-f", "s16le", "-ar", "24000", "-ac", "1", "pipe:1")
	loud := 0
	for i := 0; i+1 < len(samples); i += 2 {
		if v := int16(binary.LittleEndian.Uint16(samples[i:])); v > 2000 || v < -2000 {
			loud++
		}
	}
	require.Greater(t, loud, len(samples)/4, "it is not silence")
	return facts[0], facts[1], float64(len(samples)) / 48_000
}

func TestSpeechThatCannotBeginIsAProperError(t *testing.T) {
	t.Parallel()
	patient, hasty := newWorld(t, nil), newWorld(t, func(c *gateway.Config) { c.MaxWait = 3 * time.Second })
	for name, c := range map[string]struct {
		w       *world
		happens func(*world, bus.AcceptedJob)
		status  int
		kind    string
	}{
		"the first segment fails": {patient, func(w *world, j bus.AcceptedJob) { w.planned(j, "chapter"); w.spoil(j.ID, 1) }, 503, "server_error"},
		"the text cannot be planned": {patient, func(w *world, j bus.AcceptedJob) {
			w.write(j)
			w.exec(`update jobs set state = 'failed', finished_at = now(), error_kind = 'invalid', error_detail = 'nothing to speak', version = 2 where id = $1`, j.ID)
			w.bus.Hint(j.ID, 2)
		}, 400, "invalid_request_error"},
		"somebody cancels the job": {patient, func(w *world, j bus.AcceptedJob) { w.write(j); w.cancelInStore(j.ID) }, 409, "invalid_request_error"},
		"nobody renders it":        {hasty, func(w *world, j bus.AcceptedJob) { w.planned(j, "chapter") }, 503, "server_error"},
	} {
		w := c.w
		answer := w.speak(speech("mp3"))
		j := w.take(1)[0]
		c.happens(w, j)
		got := <-answer
		require.Equal(t, c.status, got.StatusCode, "%s: %s", name, got.Status)
		require.Equal(t, c.kind, got.problem(t).Error.Type)
		if c.status == 503 {
			require.NotEmpty(t, got.Header.Get("Retry-After"))
		}
		require.Eventually(t, func() bool {
			var open int
			w.scan(`select count(*) from jobs where finished_at is null`, &open)
			return open == 0
		}, time.Minute, 10*time.Millisecond, "%s: the job is not worked on for nobody", name)
	}
}

func TestSpeechThatBreaksOffIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, format := range []string{"wav", "pcm", "mp3", "flac"} {
		answer := w.speak(speech(format))
		j := w.take(1)[0]
		w.planned(j, "sentence", "chapter")
		w.render(j.ID, 1, tone(testRate, 300))
		got := <-answer
		require.Equal(t, http.StatusOK, got.StatusCode, got.Status)
		w.spoil(j.ID, 2)
		_, err := io.Copy(io.Discard, got.Body)
		require.Error(t, err, format)
	}
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_transcodes 0") }, time.Minute, 10*time.Millisecond)
}

func TestAClientThatLeavesTakesItsSpeechAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	cancelled := func(id job.ID) {
		require.Eventually(t, func() bool {
			var state string
			require.NoError(t, w.db.QueryRow(t.Context(), `select state from jobs where id = $1`, id).Scan(&state))
			return state == "cancelled"
		}, time.Minute, 10*time.Millisecond)
	}
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _, _ = w.try(ctx, "POST", "/v1/audio/speech", speech("wav")); close(done) }()
	j := w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	leave()
	<-done
	cancelled(j.ID)

	answer := w.speak(speech("opus"))
	j = w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	w.render(j.ID, 1, tone(testRate, 300))
	got := <-answer
	require.Equal(t, http.StatusOK, got.StatusCode, got.Status)
	require.True(t, w.counts("voicemill_gateway_transcodes 1"), "%s", w.metrics())
	got.leave()
	cancelled(j.ID)
	require.Eventually(t, func() bool {
		m := w.metrics()
		return strings.Contains(m, "voicemill_gateway_transcodes 0") && strings.Contains(m, "voicemill_gateway_speeches 0") && strings.Contains(m, "voicemill_gateway_watchers 0")
	}, time.Minute, 10*time.Millisecond)
}

func TestSpeechWithAKeyIsTheSameSpeechAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const header, key = "Idempotency-Key", "line 7"
	require.Equal(t, http.StatusBadRequest, (<-w.speak(speech("wav"), header, key)).StatusCode, "no key has a blank")
	first := w.speak(speech("wav"), header, "line-7")
	j := w.take(1)[0]
	second := w.speak(speech("wav"), header, "line-7")
	require.Equal(t, j.ID, w.take(1)[0].ID, "sent again, because nobody knows whether it has arrived")
	w.planned(j, "sentence", "chapter")
	one, two := tone(testRate, 300), tone(2000, 400)
	w.render(j.ID, 1, one)
	got := <-first
	require.Equal(t, http.StatusOK, got.StatusCode, got.Status)
	_, err := io.ReadFull(got.Body, make([]byte, testRate))
	require.NoError(t, err)
	got.leave()
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), `"error_kind"`) }, time.Minute, 10*time.Millisecond, "the first has left")

	var state string
	w.scan(`select state from jobs`, &state)
	require.Equal(t, "running", state, "it may come again")
	third := w.speak(speech("wav"), header, "line-7")
	w.render(j.ID, 2, two)
	w.finish(j.ID)
	want := wav.AppendSamples(append(wav.AppendSamples(wav.StreamHeader(testRate), one), make([]byte, 2*7717)...), two)
	for name, answer := range map[string]chan spoken{
		"at the same time": second, "after the first had left": third, "after all": w.speak(speech("wav"), header, "line-7"),
	} {
		got := <-answer
		require.Equal(t, http.StatusOK, got.StatusCode, "%s: %s", name, got.Status)
		require.Equal(t, "/v1/jobs/"+string(j.ID), got.Header.Get("Location"), name)
		body, err := io.ReadAll(got.Body)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(want, body), "%s: %d bytes", name, len(body))
	}
	other := <-w.speak(speech("pcm"), header, "line-7")
	require.Equal(t, http.StatusConflict, other.StatusCode, other.Status)
	p := other.problem(t)
	require.Equal(t, "/problems/idempotency-key-reused", p.Type)
	require.Equal(t, "idempotency_key_reused", *p.Error.Code)
	require.Equal(t, http.StatusConflict, w.call("POST", "/v1/jobs", hello, header, "line-7").Status, "of another call")
	require.Eventually(t, func() bool {
		m := w.metrics()
		return strings.Contains(m, "voicemill_gateway_speeches 0") && strings.Contains(m, "voicemill_gateway_watchers 0")
	}, time.Minute, 10*time.Millisecond)
}

func TestABadRequestForSpeechIsToldInOpenAIsWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.FFmpeg = "no-such-program" })
	with := func(rest string) string {
		return `{"model":"tts-1","voice":"narrator-en","input":"Hello."` + rest + `}`
	}
	for name, c := range map[string]struct{ body, param, code, says string }{
		"no model":                 {`{"voice":"narrator-en","input":"x","response_format":"wav"}`, "model", "missing_required_parameter", "is missing"},
		"no input":                 {`{"model":"x","voice":"narrator-en","response_format":"wav"}`, "input", "missing_required_parameter", "is missing"},
		"no voice":                 {`{"model":"x","input":"x","response_format":"wav"}`, "voice", "missing_required_parameter", "is missing"},
		"an unknown voice":         {`{"model":"x","voice":"alloy","input":"x","response_format":"wav"}`, "voice", "invalid_value", "anna-de, narrator-en"},
		"an unknown voice as id":   {`{"model":"x","voice":{"id":"alloy"},"input":"x","response_format":"wav"}`, "voice", "invalid_value", "anna-de, narrator-en"},
		"a voice that is none":     {`{"model":"x","voice":7,"input":"x","response_format":"wav"}`, "voice", "invalid_type", "must be a name"},
		"nothing to speak":         {`{"model":"x","voice":"narrator-en","input":"…","response_format":"wav"}`, "input", "invalid_value", "no letter"},
		"too long":                 {`{"model":"x","voice":"narrator-en","input":"` + strings.Repeat("ü", 4097) + `","response_format":"wav"}`, "input", "string_above_max_length", "4097 characters; at most 4096"},
		"an unknown format":        {with(`,"response_format":"8track"`), "response_format", "unsupported_value", "available: pcm, wav"},
		"a format without ffmpeg":  {with(`,"response_format":"mp3"`), "response_format", "unsupported_value", "available: pcm, wav"},
		"the default without it":   {with(``), "response_format", "unsupported_value", `"mp3" cannot be made here`},
		"a speed without it":       {with(`,"response_format":"wav","speed":3`), "speed", "unsupported_value", "0.5 to 2.0"},
		"a speed beyond":           {with(`,"response_format":"wav","speed":5`), "speed", "invalid_value", "0.25 to 4.0"},
		"instructions":             {with(`,"response_format":"wav","instructions":"Whisper."`), "instructions", "invalid_value", `voice "narrator-en" takes no instructions`},
		"server-sent events":       {with(`,"response_format":"wav","stream_format":"sse"`), "stream_format", "unsupported_value", "supported: audio"},
		"an unknown field":         {with(`,"colour":"red"`), "colour", "unknown_parameter", "not a known field"},
		"a wrong type":             {with(`,"speed":"fast"`), "speed", "invalid_type", "must be a number"},
		"a list":                   {`[]`, "", "invalid_type", "must be an object"},
		"a control character":      {`{"model":"x","voice":"narrator-en","input":"a\u0007","response_format":"wav"}`, "input", "invalid_value", "control character"},
		"no JSON":                  {`{"model"`, "", "invalid_json", "not JSON"},
		"a name in another script": {with(`,"ſpeed":1`), "ſpeed", "unknown_parameter", "not a known field"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := <-w.speak(c.body)
			require.Equal(t, http.StatusBadRequest, got.StatusCode, got.Status)
			p := got.problem(t)
			require.Equal(t, "invalid_request_error", p.Error.Type)
			require.Contains(t, p.Error.Message, c.says)
			require.Equal(t, c.code, *p.Error.Code)
			if c.param == "" {
				require.Nil(t, p.Error.Param)
			} else {
				require.Equal(t, c.param, *p.Error.Param)
			}
		})
	}
	a := w.call("POST", "/v1/audio/speech", speech("wav"), "Authorization", "Bearer vm_x")
	require.Equal(t, http.StatusUnauthorized, a.Status)
	require.Contains(t, string(a.Body), `"code":"invalid_api_key"`)
	require.Contains(t, string(w.call("GET", "/v1/audio/speech", "").Body), `"error":{`)
	require.NotContains(t, string(w.call("GET", "/v1/jobs/job_x", "").Body), `"error":{`, "elsewhere a problem is what it was")
}

func TestSpeechIsLimitedLikeAnyJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.KeyText = limit.Rate{Count: 1, Per: time.Hour, Burst: 40}
		c.Transcodes = 1
	})
	first := w.speak(speech("mp3"))
	j := w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	w.render(j.ID, 1, tone(testRate, 300))
	got := <-first
	require.Equal(t, http.StatusOK, got.StatusCode, got.Status)

	second := w.speak(speech("aac"))
	j = w.take(1)[0]
	w.planned(j, "chapter")
	w.render(j.ID, 1, tone(testRate, 300))
	refused := <-second
	require.Equal(t, http.StatusServiceUnavailable, refused.StatusCode, refused.Status)
	require.NotEmpty(t, refused.Header.Get("Retry-After"))
	require.Contains(t, refused.problem(t).Error.Message, "wav or pcm")

	refused = <-w.speak(speech("wav"))
	require.Equal(t, http.StatusTooManyRequests, refused.StatusCode, refused.Status)
	require.Equal(t, "rate_limit_exceeded", *refused.problem(t).Error.Code)
	got.leave()
}

func TestOneKeyDoesNotTakeEveryProgramOfFfmpeg(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Transcodes = 4 })
	begun := func(key string) spoken {
		answer := w.speak(speech("mp3"), "Authorization", "Bearer "+key)
		j := w.take(1)[0]
		w.planned(j, "sentence", "chapter") // the second segment never comes, so the program stays
		w.render(j.ID, 1, tone(testRate, 300))
		return <-answer
	}
	for range 2 {
		got := begun(w.key)
		require.Equal(t, http.StatusOK, got.StatusCode, got.Status)
		defer got.leave()
	}
	refused := begun(w.key)
	require.Equal(t, http.StatusTooManyRequests, refused.StatusCode, refused.Status)
	require.NotEmpty(t, refused.Header.Get("Retry-After"))
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="key-transcodes"} 1`), "%s", w.metrics())
	got := begun(w.newKey(tenant, gateway.Scopes()...))
	require.Equal(t, http.StatusOK, got.StatusCode, "%s: there is room for another key", got.Status)
	got.leave()
}

func TestASpeechUnderWayIsFinishedWhenTheServerStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Grace = 15 * time.Second })
	answer, waiting := w.speak(speech("pcm")), make(chan spoken, 1)
	j := w.take(1)[0]
	w.planned(j, "sentence", "chapter")
	w.render(j.ID, 1, tone(testRate, 300))
	got := <-answer
	require.Equal(t, http.StatusOK, got.StatusCode, got.Status)
	go func() { waiting <- <-w.speak(speech("wav")) }()
	w.take(1)
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	require.Equal(t, http.StatusServiceUnavailable, (<-waiting).StatusCode, "what has not begun is refused")
	w.render(j.ID, 2, tone(testRate, 300))
	body, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Len(t, body, 2*(24_000*2+8400), "both segments and the pause")
	require.NoError(t, <-stopped)
}
