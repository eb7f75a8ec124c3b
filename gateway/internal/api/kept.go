package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/job"
)

const jobPath = "/v1/jobs/"

// StatusRoute is the pattern of the path of a job.
const StatusRoute = "/v1/jobs/{id}"

// ServeKept answers a GET of a job if everything for it is in memory: who calls
// and where the job is. It reports false if it has not answered; then the caller
// gives the call to [API.Serve], as it does with a path that is percent-encoded: no
// id needs that. It allocates nothing and needs no RequestID.
func (a *API) ServeKept(c *Call) bool {
	if c.Method() != http.MethodGet || len(c.Query()) > 0 || len(c.Body()) > 0 {
		return false
	}
	id, found := bytes.CutPrefix(c.RawPath(), jobPathBytes)
	if !found {
		return false
	}
	who := a.caller(c)
	if who == nil || !who.May(auth.JobsRead) {
		return false
	}
	d := a.dep.Documents.Lookup(who.Tenant, id, c.Started)
	if d == nil {
		return false
	}
	c.Route, c.Identity, c.counted = StatusRoute, *who, true
	c.Quota = a.dep.Guard.Request(who.KeyID, string(who.Tenant), c.Started)
	if c.Quota.Refused() {
		return false // Serve says so
	}
	a.present(c, d)
	return true
}

//nolint:gochecknoglobals // a constant that is bytes
var jobPathBytes = []byte(jobPath)

// caller returns who calls if that is known without asking anybody.
func (a *API) caller(c *Call) *auth.Identity {
	field := c.Header("authorization")
	h, ok := c.Memo.Bearer(field)
	if field == nil && c.Certificate != (auth.Hash{}) {
		h, ok = c.Certificate, !c.Foreign
	}
	if ok {
		c.Key = h
	} else if a.dep.Tokens != nil {
		_, h, ok = auth.Token(field)
	}
	if !ok {
		return nil
	}
	id, _ := a.dep.Keys.Get(h, c.Started)
	return id
}

// show answers with the job as it is or was a moment ago: from memory, or from
// the reading that is under way, or by beginning one.
func (a *API) show(c *Call, id job.ID, minted time.Time) {
	mayBlock := c.detached
	c.detach()
	tenant := c.Identity.Tenant
	c.enter(stageWork) // by whoever reads the job
	d, reading := a.dep.Documents.Join(tenant, id, c.Started, func(d *documents.Document, err error) {
		defer a.rescue(c, func() { a.fail(c, errPanic) })
		if err != nil {
			a.fail(c, err)
			return
		}
		a.present(c, d)
	})
	if d != nil {
		a.present(c, d)
		return
	}
	if reading == nil {
		return
	}
	ctx := context.WithoutCancel(c.Context()) // others may have joined when this client leaves
	read := func() { a.read(ctx, c, reading, minted) }
	if mayBlock {
		read()
		return
	}
	c.enter(stageQueue)
	if err := a.dep.Pool.Go(func() { c.enter(stageWork); read() }); err != nil {
		reading.Settle(nil, err)
	}
}

// read does a reading that began with c.
func (a *API) read(ctx context.Context, c *Call, reading *documents.Reading, minted time.Time) {
	var d *documents.Document
	err := fmt.Errorf("read job %s: %w", reading.Job(), errPanic) // unless it returns
	defer func() { reading.Settle(d, err) }()
	defer a.rescue(c, func() {})
	d, err = a.encoded(ctx, c.Identity.Tenant, reading.Job(), minted)
}

func (a *API) encoded(ctx context.Context, tenant job.Tenant, id job.ID, minted time.Time) (*documents.Document, error) {
	d, err := a.load(ctx, tenant, id, minted)
	if err != nil {
		return nil, err
	}
	return &documents.Document{Tenant: tenant, Job: &d, Body: encode(&d), ETag: etag(&d)}, nil
}

// present answers with d, unless the client has it.
func (a *API) present(c *Call, d *documents.Document) {
	c.kept = Answer{Status: http.StatusOK, Kept: true, ContentType: contentJSON, Body: d.Body, Job: d.Job, ETag: d.ETag}
	if field := c.Header("if-none-match"); field != nil && names(field, d.ETag) {
		c.kept.Status, c.kept.ContentType, c.kept.Body = http.StatusNotModified, "", nil
	}
	c.Reply(&c.kept)
}
