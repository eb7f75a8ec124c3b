package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAJobNamesABucketOfItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, takesBuckets)
	own, _ := ownBucket(t)
	b, err := w.client(w.key).CreateBucket(t.Context(), own)
	require.NoError(t, err)
	submit := func(output string, headers ...string) answer {
		return w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"text":"Hello there."},"voice":"narrator-en","output":%s}`, output), headers...)
	}
	for output, says := range map[string]string{
		`{"deliver_to":"bkt_0000"}`:                                    "/output/deliver_to: bucket bkt_0000 is not known",
		`{"deliver_to":"../x"}`:                                        "is not the id of a bucket",
		`{"path":"{title}.{ext}"}`:                                     "needs deliver_to",
		`{"deliver_to":"` + b.ID + `","path":"../{title}.{ext}"}`:      "begins with a dot",
		`{"deliver_to":"` + b.ID + `","path":"/{title}.{ext}"}`:        "must not begin with a slash",
		`{"deliver_to":"` + b.ID + `","path":"{titel}/{title}.{ext}"}`: "{titel}, which is not known",
	} {
		p := submit(output).problem(t)
		require.Equal(t, http.StatusUnprocessableEntity, p.Status, output)
		require.Contains(t, p.Detail, says)
	}
	p := submit(`{"deliver_to":"`+b.ID+`"}`, "Authorization", "Bearer "+w.other).problem(t)
	require.Contains(t, p.Detail, "is not known", "it is another tenant's")

	id := submit(`{"deliver_to":"` + b.ID + `","path":"{author}/{title}/{chapter}.{ext}"}`).job(t).ID
	path := "/v1/jobs/" + string(id) + "/deliver"
	require.Equal(t, http.StatusConflict, w.call("POST", path, "").Status, "it is not in the database yet")
	w.write(w.take(1)[0])
	require.Contains(t, w.call("POST", path, "").problem(t).Detail, "has not ended")
	require.Equal(t, http.StatusNotFound, w.call("POST", path, "", "Authorization", "Bearer "+w.other).Status)

	w.exec(`update jobs set state = 'succeeded', segments_total = 1, segments_done = 1, chapters_total = 0, plan_digest = 'x', proof_digest = 'x', finished_at = now() where id = $1`, id)
	d := w.call("POST", path, "").job(t)
	require.Equal(t, "pending", d.Delivery.State)
	require.Equal(t, b.ID, d.Delivery.Bucket)
	w.exec(`update exports set state = 'failed', error_kind = 'unauthorized', error_detail = 'The keys are wrong.', ended_at = now()`)
	w.exec(`update jobs set version = version + 1`)
	again, err := w.client(w.key).Deliver(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "pending", again.Delivery.State)
	require.Nil(t, again.Delivery.Error)
	var round int
	w.scan(`select round from exports`, &round)
	require.Equal(t, 2, round)
	w.exec(`update jobs set kept = 1`)
	require.Contains(t, w.call("POST", path, "").problem(t).Detail, "kept no longer")

	other := w.call("POST", "/v1/jobs", hello).job(t).ID
	w.write(w.take(1)[0])
	require.Contains(t, w.call("POST", "/v1/jobs/"+string(other)+"/deliver", "").problem(t).Detail, "names no bucket")
}
