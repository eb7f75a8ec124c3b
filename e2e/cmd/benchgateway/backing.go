package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/voicemill/voicemill/e2e/peers"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/embed/s3d"
	"github.com/voicemill/voicemill/platform/pg"
)

// backing is what stands behind the gateway, in this process and not in the one
// that is measured.
type backing struct {
	env  []string // of a gateway
	key  string
	db   *pg.Pool
	bus  *bus.Bus
	blob *blob.Store
	ends []func() error // last first

	drained sync.WaitGroup
	cancel  context.CancelFunc
}

func (k *backing) stop() error {
	var errs []error
	if k.cancel != nil {
		k.cancel()
	}
	k.drained.Wait()
	for _, end := range slices.Backward(k.ends) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

func (b *bench) startBacking(ctx context.Context) (k *backing, err error) {
	k = &backing{}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.stop())
		}
	}()
	stopping := context.WithoutCancel(ctx)
	db, err := pgd.Start(ctx, pgd.Config{DataDir: filepath.Join(b.dir, "postgres")}, b.log)
	if err != nil {
		return k, err
	}
	k.ends = append(k.ends, func() error { return db.Stop(stopping) })
	nats, err := natsd.Start(ctx, natsd.Config{StoreDir: filepath.Join(b.dir, "nats"), Listen: "127.0.0.1:0"}, b.log)
	if err != nil {
		return k, err
	}
	k.ends = append(k.ends, func() error { nats.Stop(); return nil })
	s3, err := s3d.Start(ctx, s3d.Config{DataDir: filepath.Join(b.dir, "s3")}, b.log)
	if err != nil {
		return k, err
	}
	k.ends = append(k.ends, func() error { return s3.Stop(stopping) })
	keys := s3.Credentials()
	k.env = []string{
		"VOICEMILL_DB_DSN=" + db.DSN(), "VOICEMILL_BUS_URL=" + nats.URL(), "VOICEMILL_BLOB_ENDPOINT=" + s3.Endpoint(),
		"VOICEMILL_BLOB_ACCESS_KEY=" + keys.AccessKey, "VOICEMILL_BLOB_SECRET_KEY=" + keys.SecretKey.Reveal(),
	}
	if k.db, err = pg.Connect(ctx, pg.Config{DSN: config.NewSecret(db.DSN()), MaxConns: 2}, b.log); err != nil {
		return k, err
	}
	k.ends = append(k.ends, func() error { k.db.Close(); return nil })
	if k.bus, err = bus.Connect(ctx, bus.Config{URL: nats.URL()}, b.log); err != nil {
		return k, err
	}
	k.ends = append(k.ends, func() error { k.bus.Close(); return nil })
	k.blob, err = blob.Open(ctx, blob.Config{
		Endpoint: s3.Endpoint(), Bucket: "voicemill", AccessKey: keys.AccessKey, SecretKey: keys.SecretKey, Region: s3.Region(),
	})
	if err != nil {
		return k, err
	}
	k.ends = append(k.ends, func() error { k.blob.Close(); return nil })
	return k, b.furnish(ctx, k)
}

// furnish makes the schema, a key and a voice, and takes jobs from the bus as the
// scheduler would, without writing them: the gateway does not wait for that.
func (b *bench) furnish(ctx context.Context, k *backing) error {
	init := exec.CommandContext(ctx, filepath.Join(b.bin, "voicemill"), "init", "--print-key", "--first-key", filepath.Join(b.dir, "first-key")) //nolint:gosec // built by make
	init.Env, init.Stderr = append(os.Environ(), k.env...), os.Stderr
	out, err := init.Output()
	if err != nil {
		return fmt.Errorf("voicemill init: %w", err)
	}
	k.key = strings.TrimSpace(string(out))
	if _, err := k.db.Exec(ctx, `insert into voices (name, pool, language, engine, sample_rate, is_default)
		values ('narrator-en', 'espeak', 'en', 'espeak-ng', 22050, true) on conflict do nothing`); err != nil {
		return err
	}
	if err := k.bus.Setup(ctx); err != nil {
		return err
	}
	ctx, k.cancel = context.WithCancel(ctx)
	k.drained.Go(func() {
		_ = k.bus.Envelopes(ctx, func(context.Context, bus.Envelope) error { return nil }) // ends with the run
	})
	b.cert, b.key = filepath.Join(b.dir, "cert.pem"), filepath.Join(b.dir, "key.pem")
	return certify(b.cert, b.key)
}

// job makes one job that runs, with two chapters, and returns its path and its
// document as the gateway shows it.
func (b *bench) job(ctx context.Context, s *server) (path string, document []byte, err error) {
	body := `{"input":{"text":"It was the best of times, it was the worst of times."},"voice":"narrator-en","class":"bulk","labels":{"book":"benchmark"}}`
	_, answer, err := call(ctx, s, http.MethodPost, "/v1/jobs", body)
	if err != nil {
		return "", nil, err
	}
	var job struct{ ID string }
	if err := json.Unmarshal(answer, &job); err != nil {
		return "", nil, err
	}
	for _, sql := range []string{
		`insert into jobs (id, tenant_id, class, state, version, spec, labels, on_failure, title, language, segments_total, segments_done,
			segments_reused, chapters_total, chapters_ready, characters, audio_seconds, gpu_seconds, reused_seconds, accepted_at, started_at)
		values ($1, 'default', 'bulk', 'running', 42, '{}', '{"book": "benchmark"}', 'fail', 'A Book', 'en', 812, 400,
			120, 2, 1, 123456, 14400.5, 720.1, 1800, now(), now())`,
		`insert into chapters (job_id, ordinal, title, state, first_segment, segments_total, segments_done, plan_digest, sample_rate, audio_samples, artifact, object_key, ready_at)
		values ($1, 1, 'One', 'ready', 1, 406, 406, '\x00', 22050, 26534970, 'chapter-001.wav', 'none', now()),
			($1, 2, 'Two', 'pending', 407, 406, 0, '\x00', null, null, null, null, null)`,
	} {
		if _, err := b.back.db.Exec(ctx, sql, job.ID); err != nil {
			return "", nil, fmt.Errorf("write the job: %w", err)
		}
	}
	audio := peers.Download()
	sum := sha256.Sum256(audio)
	object := "bench/" + job.ID + "/chapter-001.wav" // each file has an object of its own
	if _, err := b.back.blob.Put(ctx, object, bytes.NewReader(audio), int64(len(audio)), blob.PutOptions{}); err != nil {
		return "", nil, fmt.Errorf("store the audio: %w", err)
	}
	if _, err := b.back.db.Exec(ctx, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, 'chapter-001.wav', 'audio/wav', $2, $3, $4)`,
		job.ID, object, len(audio), sum[:]); err != nil {
		return "", nil, fmt.Errorf("write the artifact: %w", err)
	}
	path = "/v1/jobs/" + job.ID
	status, document, err := call(ctx, s, http.MethodGet, path, "")
	if err == nil && (status != http.StatusOK || !strings.Contains(string(document), `"running"`)) {
		err = fmt.Errorf("the gateway answers %d: %s", status, document)
	}
	return path, document, err
}

// call sends one request and returns its answer.
func call(ctx context.Context, s *server, method, path, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url(path), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client().Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// certify writes a certificate for loopback and its key.
func certify(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
