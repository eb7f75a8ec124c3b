package firstkey_test

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/voicemill/internal/firstkey"
)

func TestMain(m *testing.M) {
	testkit.Main(m, // the pool that gnet's library starts with the process
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"))
}

// place is a database and a file for the key.
type place struct {
	t    *testing.T
	db   *pg.Pool
	path string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	return &place{t: t, db: testkit.Postgres(t), path: filepath.Join(t.TempDir(), "first-key")}
}

func (p *place) ensure(another bool) firstkey.State {
	p.t.Helper()
	got, err := firstkey.Ensure(p.t.Context(), p.db, firstkey.Request{Tenant: "default", Path: p.path, Another: another, Random: rand.Reader})
	require.NoError(p.t, err)
	return got
}

func (p *place) secret() string {
	p.t.Helper()
	raw, err := os.ReadFile(p.path)
	require.NoError(p.t, err)
	return strings.TrimSpace(string(raw))
}

func (p *place) works(secret string) bool {
	p.t.Helper()
	ring, err := gateway.OpenKeyring(p.db, "default", rand.Reader)
	require.NoError(p.t, err)
	ok, err := ring.Registered(p.t.Context(), secret)
	require.NoError(p.t, err)
	return ok
}

func (p *place) keys() (n int) {
	p.t.Helper()
	require.NoError(p.t, p.db.QueryRow(p.t.Context(), "select count(*) from api_keys").Scan(&n))
	return n
}

func TestTheFirstKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	require.Equal(t, firstkey.Created, p.ensure(false))
	info, err := os.Stat(p.path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	secret := p.secret()
	require.True(t, p.works(secret))
	for _, another := range []bool{false, true} {
		require.Equal(t, firstkey.Existed, p.ensure(another))
	}
	require.Equal(t, secret, p.secret())
	require.Equal(t, 1, p.keys())
}

func TestAFileThatAPowerCutEmptiedIsNoKey(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]string{"empty": "", "a blank": "\n", "zeros": strings.Repeat("\x00", 30)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.ensure(true)
			require.NoError(t, os.WriteFile(p.path, []byte(left), 0o600))
			require.Equal(t, firstkey.Created, p.ensure(true))
			require.True(t, p.works(p.secret()))
		})
	}
}

func TestAKeyWhoseFileIsElsewhereStaysTheOnlyOne(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.ensure(false)
	require.NoError(t, os.Remove(p.path))
	require.Equal(t, firstkey.Kept, p.ensure(false))
	require.NoFileExists(t, p.path)
	require.Equal(t, 1, p.keys())
	require.Equal(t, firstkey.Created, p.ensure(true), "when somebody asks for another")
	require.Equal(t, 2, p.keys())
}

func TestWhatWasCutOffBeforeTheDatabaseIsFinished(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const chosen = "vm_0123456789abcdefghjkmnpqrs"
	require.NoError(t, os.WriteFile(p.path, []byte(chosen+"\n"), 0o600))
	require.Equal(t, firstkey.Created, p.ensure(false))
	require.True(t, p.works(chosen))
	_, err := p.db.Exec(t.Context(), "update api_keys set revoked_at = now()")
	require.NoError(t, err)
	require.Equal(t, firstkey.Revoked, p.ensure(false))
	require.False(t, p.works(chosen), "a key that was revoked stays so")

	require.NoError(t, os.WriteFile(p.path, []byte("a shopping list"), 0o600))
	_, err = firstkey.Ensure(t.Context(), p.db, firstkey.Request{Tenant: "default", Path: p.path, Random: rand.Reader})
	require.ErrorContains(t, err, p.path)
	require.Equal(t, "a shopping list", p.secret())
}
