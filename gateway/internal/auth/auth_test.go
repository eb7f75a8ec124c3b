package auth_test

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/auth"
)

const secret = "vm_0123456789abcdefghjkmnpqrs"

func TestBearerTakesOnlyKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		field string
		ok    bool
	}{
		"a key":              {"Bearer " + secret, true},
		"another case":       {"bEARER " + secret, true},
		"two spaces":         {"Bearer  " + secret, true},
		"nothing":            {"", false},
		"only the scheme":    {"Bearer ", false},
		"another scheme":     {"Basic " + secret, false},
		"no scheme":          {secret, false},
		"another prefix":     {"Bearer xx_0123456789abcdefghjkmnpqrs", false},
		"a short key":        {"Bearer vm_0123", false},
		"something after it": {"Bearer " + secret + " x", false},
		"a very long field":  {"Bearer " + string(make([]byte, 1<<16)), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, ok := auth.Bearer([]byte(c.field))
			require.Equal(t, c.ok, ok)
			if ok {
				require.Equal(t, auth.HashKey(secret), h)
			}
		})
	}
}

func TestTokenTakesOnlyWhatMayBeASignedJWT(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		field string
		ok    bool
	}{
		"a token":            {"Bearer eyJh.eyJz.c2ln-_", true},
		"an API key":         {"Bearer " + secret, false},
		"without signature":  {"Bearer eyJh.eyJz.", false},
		"two parts":          {"Bearer eyJh.eyJz", false},
		"four parts":         {"Bearer a.b.c.d", false},
		"an empty part":      {"Bearer a..c", false},
		"padded":             {"Bearer a=.b.c", false},
		"more after it":      {"Bearer a.b.c d", false},
		"another scheme":     {"Basic a.b.c", false},
		"nothing":            {"Bearer ", false},
		"longer than any is": {"Bearer a.b." + strings.Repeat("c", 8<<10), false},
	} {
		raw, h, ok := auth.Token([]byte(c.field))
		require.Equal(t, c.ok, ok, name)
		if ok {
			require.Equal(t, auth.HashKey(string(raw)), h)
		}
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	id := auth.Identity{Scopes: []auth.Scope{auth.JobsRead}}
	require.True(t, id.May(auth.JobsRead))
	require.True(t, id.May(auth.JobsWrite, auth.JobsRead))
	require.False(t, id.May(auth.JobsWrite))
	require.False(t, auth.Identity{}.May(auth.Scopes()...))
}

func TestARevokedKeyIsNotPutBackByALookUpThatWasUnderWay(t *testing.T) {
	t.Parallel()
	c, err := auth.NewCache(auth.DefaultConfig())
	require.NoError(t, err)
	now, h := time.Unix(1000, 0), auth.HashKey(secret)
	c.Put(h, &auth.Identity{KeyID: "k"}, now)
	since := c.Asking()
	c.Forget("k")
	c.PutAnswer(h, &auth.Identity{KeyID: "k"}, now, since)
	_, fresh := c.Get(h, now)
	require.False(t, fresh)
	c.PutAnswer(h, &auth.Identity{KeyID: "k"}, now, c.Asking())
	_, fresh = c.Get(h, now)
	require.True(t, fresh, "a look-up that began afterwards is believed")
}

func TestAKeyInUseIsLookedUpAgainBeforeItIsForgotten(t *testing.T) {
	t.Parallel()
	cfg := auth.DefaultConfig()
	c, err := auth.NewCache(cfg)
	require.NoError(t, err)
	begin := time.Unix(1000, 0)
	known, unknown, token := auth.HashKey(secret), auth.HashKey("vm_unknown"), auth.HashKey("token")
	c.Put(known, &auth.Identity{KeyID: "k"}, begin)
	c.Put(unknown, nil, begin)
	c.PutUntil(token, &auth.Identity{}, begin.Add(cfg.Keep))
	due := func() (n int) {
		for ; len(c.Due()) > 0; n++ {
			require.Equal(t, known, <-c.Due())
		}
		return n
	}
	use := func(at time.Duration) {
		for range 3 {
			for _, h := range []auth.Hash{known, unknown, token} {
				c.Get(h, begin.Add(at))
			}
		}
	}
	use(cfg.Keep*2/3 - 1)
	require.Zero(t, due(), "it is too early")
	use(cfg.Keep * 2 / 3)
	require.Equal(t, 1, due(), "one use tells")
	use(cfg.Keep*2/3 + time.Second)
	require.Equal(t, 1, due(), "nothing came of it, so another tells a second later")
	c.Put(known, &auth.Identity{KeyID: "k"}, begin.Add(cfg.Keep*2/3+time.Second))
	use(cfg.Keep)
	require.Zero(t, due(), "it was looked up")
	id, fresh := c.Get(known, begin.Add(cfg.Keep))
	require.True(t, fresh)
	require.Equal(t, "k", id.KeyID)
}

func TestAnswersAgeAndWrongKeysAgeFaster(t *testing.T) {
	t.Parallel()
	cfg := auth.DefaultConfig()
	c, err := auth.NewCache(cfg)
	require.NoError(t, err)
	now := time.Unix(1_000_000, 0)
	good, bad := auth.HashKey("good"), auth.HashKey("bad")
	c.Put(good, &auth.Identity{KeyID: "key_1"}, now)
	c.Put(bad, nil, now)

	id, fresh := c.Get(good, now.Add(cfg.Keep-1))
	require.True(t, fresh)
	require.Equal(t, "key_1", id.KeyID)
	_, fresh = c.Get(good, now.Add(cfg.Keep))
	require.False(t, fresh)
	id, fresh = c.Get(bad, now.Add(cfg.KeepUnknown-1))
	require.True(t, fresh)
	require.Nil(t, id)
	_, fresh = c.Get(bad, now.Add(cfg.KeepUnknown))
	require.False(t, fresh)
	_, fresh = c.Get(auth.HashKey("never seen"), now)
	require.False(t, fresh)
}

func TestARevokedKeyIsForgotten(t *testing.T) {
	t.Parallel()
	c, err := auth.NewCache(auth.DefaultConfig())
	require.NoError(t, err)
	now := time.Unix(1_000_000, 0)
	c.Put(auth.HashKey("a"), &auth.Identity{KeyID: "key_a"}, now)
	c.Put(auth.HashKey("b"), &auth.Identity{KeyID: "key_b"}, now)
	c.Forget("key_a")
	_, fresh := c.Get(auth.HashKey("a"), now)
	require.False(t, fresh)
	_, fresh = c.Get(auth.HashKey("b"), now)
	require.True(t, fresh)
}

func TestAFloodOfWrongKeysDoesNotGrowTheCache(t *testing.T) {
	t.Parallel()
	cfg := auth.DefaultConfig()
	cfg.Entries = 100
	c, err := auth.NewCache(cfg)
	require.NoError(t, err)
	now := time.Unix(1_000_000, 0)
	for n := range 10_000 {
		var h auth.Hash
		binary.BigEndian.PutUint64(h[:], uint64(n))
		c.Put(h, nil, now)
		require.LessOrEqual(t, c.Len(), 100)
	}
}

func TestAFloodOfWrongKeysForgetsNoGoodOne(t *testing.T) {
	t.Parallel()
	cfg := auth.DefaultConfig()
	cfg.Entries = 100
	c, err := auth.NewCache(cfg)
	require.NoError(t, err)
	now, good := time.Unix(1_000_000, 0), auth.HashKey("good")
	c.Put(good, &auth.Identity{KeyID: "key_1"}, now)
	for n := range 10_000 {
		var h auth.Hash
		binary.BigEndian.PutUint64(h[:], uint64(n))
		c.Put(h, nil, now)
	}
	id, fresh := c.Get(good, now)
	require.True(t, fresh)
	require.Equal(t, "key_1", id.KeyID)
	c.Put(good, nil, now) // it was revoked
	id, fresh = c.Get(good, now)
	require.True(t, fresh)
	require.Nil(t, id)
	c.Put(good, &auth.Identity{KeyID: "key_1"}, now)
	id, _ = c.Get(good, now)
	require.NotNil(t, id)
}

func TestASecretThatWasMadeHereIsKnownWithoutAsking(t *testing.T) {
	t.Parallel()
	ours, others := auth.NewSecrets([]byte("0123456789abcdef"), rand.Reader), auth.NewSecrets([]byte("fedcba9876543210"), rand.Reader)
	made, err := ours.Make()
	require.NoError(t, err)
	require.Len(t, made, 39)
	h, ok := auth.Bearer([]byte("Bearer " + made))
	require.True(t, ok)
	require.Equal(t, auth.HashKey(made), h)
	require.True(t, ours.Made([]byte("bearer "+made)))
	require.False(t, others.Made([]byte("Bearer "+made)))
	for i := len("vm_"); i < len(made); i++ {
		bad := []byte("Bearer " + made)
		bad[len("Bearer ")+i] ^= 1
		require.False(t, ours.Made(bad), "%s", bad)
	}
	for _, bad := range []string{"", "Bearer", "Bearer " + secret, "Bearer " + made[:38], "Bearer " + made + "0", "Basic " + made, "Bearer " + strings.ToUpper(made)} {
		require.False(t, ours.Made([]byte(bad)), bad)
	}
}
