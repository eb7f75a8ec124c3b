package cli_test

import (
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
)

// guarded is a mill over TLS that asks for the certificates of an authority.
type guarded struct {
	*mill
	authority  tls.Certificate
	dir, ca    string
	cert, cKey string // files of a client's certificate
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{dir: t.TempDir()}
	g.authority, g.ca, _ = testkit.Certificate(t, g.dir, "authority", nil)
	_, cert, key := testkit.Certificate(t, g.dir, "server", &g.authority)
	_, g.cert, g.cKey = testkit.Certificate(t, g.dir, "client", &g.authority)
	g.mill = startGateway(t, func(c *gateway.Config) {
		c.TLS = gateway.TLS{Cert: gateway.Words{cert}, Key: gateway.Words{key}, ClientCA: g.ca}
	})
	g.url = strings.Replace(g.url, "http://", "https://", 1)
	return g
}

func TestACertificateBecomesAKeyByTheCommand(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	show := []string{"--ca", g.ca, "--cert", g.cert, "--cert-key", g.cKey}
	admin := g.key
	g.key = ""
	if got := g.run(t, "", append(show, "list")...); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "not registered") {
		t.Fatalf("list with a certificate that is no key = %+v", got)
	}
	g.key = admin
	created := g.run(t, "", append(show, "keys", "create", "--certificate", "--name", "night shift", "--scope", "jobs:write", "--scope", "jobs:read")...)
	id := strings.TrimSpace(created.out)
	if created.code != 0 || !strings.HasPrefix(id, "key_") || strings.Contains(created.out+created.errOut, "vm_") {
		t.Fatalf("keys create --certificate = %+v; want the key's id and no secret", created)
	}
	g.key = ""
	submitted := g.run(t, "Dear friend.", append(show, "submit", "-")...)
	if submitted.code != 0 || !strings.HasPrefix(submitted.out, "job_") {
		t.Fatalf("submit with the certificate alone = %+v", submitted)
	}
	if got := g.run(t, "", append(show, "keys", "list")...); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "scope") {
		t.Errorf("keys list with the certificate = %+v; want it to have the scopes it was given", got)
	}

	g.key = admin
	listed := g.run(t, "", "--ca", g.ca, "keys", "list")
	if kinds := column(listed.out, "KIND"); listed.code != 0 || !slices.Equal(kinds, []string{"certificate", "secret"}) {
		t.Errorf("keys list = %+v; want the certificate and the first key", listed)
	}
	if got := g.run(t, "", "--ca", g.ca, "keys", "revoke", id); got.code != 0 {
		t.Fatalf("keys revoke = %+v", got)
	}
	g.key = ""
	if got := g.run(t, "", append(show, "list")...); got.code != cli.ExitRefused {
		t.Errorf("list with a certificate that was revoked = %+v", got)
	}
}

// column returns a column of a table by its title, without the title.
func column(table, title string) []string {
	lines := strings.Split(strings.TrimRight(table, "\n"), "\n")
	at := strings.Index(lines[0], title)
	var cells []string
	for _, line := range lines[1:] {
		if at >= 0 && at < len(line) {
			cell, _, _ := strings.Cut(line[at:], " ")
			cells = append(cells, cell)
		}
	}
	return cells
}

func TestTheCommandTrustsWhomItIsTold(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	_, stranger, strangerKey := testkit.Certificate(t, g.dir, "stranger", nil)
	empty := write(t, "empty.pem", "no certificate")
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"the server's authority":                   {args: []string{"--ca", g.ca}},
		"from the environment":                     {env: map[string]string{"VOICEMILL_CA": g.ca}},
		"with a certificate and a key":             {args: []string{"--ca", g.ca, "--cert", g.cert, "--cert-key", g.cKey}},
		"a certificate from the environment":       {env: map[string]string{"VOICEMILL_CA": g.ca, "VOICEMILL_CERT": g.cert, "VOICEMILL_CERT_KEY": g.cKey}},
		"nobody in particular":                     {code: cli.ExitUnreachable, says: "certificate"},
		"another authority":                        {args: []string{"--ca", stranger}, code: cli.ExitUnreachable, says: "certificate"},
		"a certificate of another authority":       {args: []string{"--ca", g.ca, "--cert", stranger, "--cert-key", strangerKey}},
		"a certificate without its key":            {args: []string{"--ca", g.ca, "--cert", g.cert}, code: cli.ExitUsage, says: "go together"},
		"the key of another":                       {args: []string{"--ca", g.ca, "--cert", g.cert, "--cert-key", strangerKey}, code: cli.ExitUsage, says: "--cert-key"},
		"an authority's file that is not there":    {args: []string{"--ca", g.ca + "x"}, code: cli.ExitUsage, says: "read --ca"},
		"an authority's file without an authority": {args: []string{"--ca", empty}, code: cli.ExitUsage, says: "has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"VOICEMILL_URL": g.url, "VOICEMILL_KEY": g.key}
			maps.Copy(env, c.env)
			got := runWith(t.Context(), env, "", append(c.args, "voices")...)
			if got.code != c.code || !strings.Contains(got.errOut, c.says) || c.code == 0 && !strings.Contains(got.out, "amy") {
				t.Errorf("voices = %+v; want exit code %d and %q", got, c.code, c.says)
			}
		})
	}
}
