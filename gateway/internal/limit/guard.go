package limit

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Config says what each key and each tenant may do. Start from [DefaultConfig].
type Config struct {
	KeyRequests, TenantRequests     Rate
	KeyCharacters, TenantCharacters Rate // of text that is handed in
	KeyHeld, TenantHeld             int  // waiting requests and open watches; 0 is no limit
	KeyConnections                  int  // connections of a key that carry many calls; 0 is no limit
	TenantConnections               int  // the same of a tenant
	Subjects                        int  // keys that are remembered, and as many tenants
}

// DefaultConfig returns limits that stop a runaway client and nobody else:
// 2,000 requests a second and a million characters a second for a key, with
// bursts of five seconds and two minutes, and twice that for a tenant.
func DefaultConfig() Config {
	return Config{
		KeyRequests:      Rate{Count: 2000, Per: time.Second, Burst: 10_000},
		TenantRequests:   Rate{Count: 4000, Per: time.Second, Burst: 20_000},
		KeyCharacters:    Rate{Count: 1_000_000, Per: time.Second, Burst: 120_000_000},
		TenantCharacters: Rate{Count: 2_000_000, Per: time.Second, Burst: 240_000_000},
		KeyHeld:          10_000, TenantHeld: 20_000,
		KeyConnections: 20_000, TenantConnections: 40_000,
		Subjects: 10_000,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	for name, r := range map[string]Rate{
		"requests of a key": c.KeyRequests, "requests of a tenant": c.TenantRequests,
		"characters of a key": c.KeyCharacters, "characters of a tenant": c.TenantCharacters,
	} {
		if err := r.validate(name); err != nil {
			return err
		}
	}
	if c.KeyHeld < 0 || c.TenantHeld < 0 || c.Subjects < 1 {
		return fmt.Errorf("limit: held by a key (%d) and by a tenant (%d) must not be negative, subjects (%d) positive", c.KeyHeld, c.TenantHeld, c.Subjects)
	}
	if c.KeyConnections < 0 || c.TenantConnections < 0 {
		return fmt.Errorf("limit: connections of a key (%d) and of a tenant (%d) must not be negative", c.KeyConnections, c.TenantConnections)
	}
	return nil
}

// Quota names a limit, in header fields and metrics.
type Quota string

// The quotas.
const (
	None              Quota = ""
	KeyRequests       Quota = "key"
	TenantRequests    Quota = "tenant"
	KeyCharacters     Quota = "key-characters"
	TenantCharacters  Quota = "tenant-characters"
	KeyHeld           Quota = "key-held"
	TenantHeld        Quota = "tenant-held"
	KeyConnections    Quota = "key-connections"
	TenantConnections Quota = "tenant-connections"
	KeyBodies         Quota = "key-streams"
	TenantBodies      Quota = "tenant-streams"
	KeyTranscodes     Quota = "key-transcodes"
	TenantTranscodes  Quota = "tenant-transcodes"
)

// Quotas lists every quota.
func Quotas() []Quota {
	return []Quota{KeyRequests, TenantRequests, KeyCharacters, TenantCharacters, KeyHeld, TenantHeld, KeyConnections, TenantConnections, KeyBodies, TenantBodies, KeyTranscodes, TenantTranscodes}
}

// Verdict is what one request may. Quota is the limit that refused it or, of
// those that let it pass, the one with the least left; None if nothing limits.
type Verdict struct {
	Quota Quota
	Left  int64
	Reset time.Duration // until the whole burst is there again
	Wait  time.Duration // positive if refused: until it would be let in
}

// Refused reports whether the request must wait.
func (v *Verdict) Refused() bool { return v.Wait > 0 }

// AppendField appends the value of a RateLimit header field.
func (v *Verdict) AppendField(dst []byte) []byte {
	dst = append(append(append(dst, '"'), v.Quota...), `";r=`...)
	dst = strconv.AppendInt(dst, v.Left, 10)
	return strconv.AppendInt(append(dst, ";t="...), seconds(v.Reset), 10)
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Guard keeps the limits. It is safe for concurrent use. A nil Guard lets
// everything pass.
type Guard struct {
	cfg     Config
	policy  string
	started time.Time // what time is counted from; before every request

	mu            sync.Mutex
	keys, tenants *table // guarded by mu
}

// New returns a guard that nobody has used yet.
func New(cfg Config) (*Guard, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg, started: time.Now().Add(-time.Hour), keys: newTable(cfg.Subjects), tenants: newTable(cfg.Subjects)}
	for _, p := range []struct {
		q Quota
		r Rate
	}{{KeyRequests, cfg.KeyRequests}, {TenantRequests, cfg.TenantRequests}} {
		if p.r.off() {
			continue
		}
		if g.policy != "" {
			g.policy += ", "
		}
		g.policy += fmt.Sprintf("%q;q=%d;w=%d", p.q, p.r.Burst, max(1, seconds(p.r.window())))
	}
	return g, nil
}

// Policy returns the value of the RateLimit-Policy header field; empty without
// a limit on requests.
func (g *Guard) Policy() string {
	if g == nil {
		return ""
	}
	return g.policy
}

// Request takes one request of the key and of its tenant, or of neither.
func (g *Guard) Request(key, tenant string, at time.Time) Verdict {
	if g == nil {
		return Verdict{}
	}
	now := int64(at.Sub(g.started))
	g.mu.Lock()
	defer g.mu.Unlock()
	k := claim{KeyRequests, g.cfg.KeyRequests, &g.keys.find(key).requests}
	t := claim{TenantRequests, g.cfg.TenantRequests, &g.tenants.find(tenant).requests}
	return both(k, t, now, 1)
}

// Characters takes that many characters of the key and of its tenant, or of
// neither. More than a burst at once counts as the whole burst.
func (g *Guard) Characters(key, tenant string, n int64, at time.Time) Verdict {
	if g == nil || n <= 0 {
		return Verdict{}
	}
	now := int64(at.Sub(g.started))
	g.mu.Lock()
	defer g.mu.Unlock()
	k := claim{KeyCharacters, g.cfg.KeyCharacters, &g.keys.find(key).letters}
	t := claim{TenantCharacters, g.cfg.TenantCharacters, &g.tenants.find(tenant).letters}
	return both(k, t, now, n)
}

// claim is one limit that a request has to pass.
type claim struct {
	quota Quota
	rate  Rate
	full  *int64
}

func both(a, b claim, now, units int64) Verdict {
	va, na := a.try(now, units)
	vb, nb := b.try(now, units)
	switch {
	case va.Wait >= vb.Wait && va.Wait > 0:
		return va
	case vb.Wait > 0:
		return vb
	}
	*a.full, *b.full = na, nb
	if va.Quota == None || vb.Quota != None && vb.Left < va.Left {
		return vb
	}
	return va
}

func (c claim) try(now, units int64) (v Verdict, next int64) {
	if c.rate.off() {
		return Verdict{}, *c.full
	}
	next, wait := c.rate.take(*c.full, now, units)
	after := next
	if wait > 0 {
		after = *c.full
	}
	return Verdict{
		Quota: c.quota, Left: c.rate.left(after, now), Reset: time.Duration(max(0, after-now)), Wait: time.Duration(wait),
	}, next
}

// Hold counts one thing that the key holds: a request that waits, or a watch. release
// gives it back and is called once; it is nil if a limit is reached, which full is then.
func (g *Guard) Hold(key, tenant string) (release func(), full Quota) {
	if g == nil {
		return func() {}, None
	}
	return g.occupy(key, tenant, (*subject).holding, place{KeyHeld, g.cfg.KeyHeld}, place{TenantHeld, g.cfg.TenantHeld})
}

// Connect is [Guard.Hold] for a connection of the key that carries many calls.
func (g *Guard) Connect(key, tenant string) (release func(), full Quota) {
	if g == nil {
		return func() {}, None
	}
	return g.occupy(key, tenant, (*subject).connected,
		place{KeyConnections, g.cfg.KeyConnections}, place{TenantConnections, g.cfg.TenantConnections})
}

// place is a limit on what is counted up and down.
type place struct {
	quota Quota
	most  int // 0 is no limit
}

// occupy counts one for the key and the tenant, or for neither if a limit is reached.
func (g *Guard) occupy(key, tenant string, counter func(*subject) *int, ofKey, ofTenant place) (release func(), full Quota) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k, t := counter(g.keys.find(key)), counter(g.tenants.find(tenant))
	switch {
	case ofKey.most > 0 && *k >= ofKey.most:
		return nil, ofKey.quota
	case ofTenant.most > 0 && *t >= ofTenant.most:
		return nil, ofTenant.quota
	}
	*k++
	*t++
	return func() { // neither is forgotten meanwhile
		g.mu.Lock()
		defer g.mu.Unlock()
		*k--
		*t--
	}, None
}

// Len returns how many keys are remembered.
func (g *Guard) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.keys.byKey)
}
