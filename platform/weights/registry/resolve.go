package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// maxIndex bounds what an index says of one package.
const maxIndex = 32 << 20

// Place is where the file or the archive of a source can be fetched. Exactly one
// of URL and File is set.
type Place struct {
	URL   string
	Token string // for the header Authorization: Bearer; may be empty
	File  string
}

// Resolve finds the place of s. It asks a registry for what is in one.
func (r Settings) Resolve(ctx context.Context, client *http.Client, s Source) (Place, error) {
	switch s.Kind {
	case File:
		return Place{File: s.Name}, nil
	case Address:
		return Place{URL: s.Name}, nil
	case NPM:
		return r.npm(ctx, client, s)
	case PyPI:
		return r.pypi(ctx, client, s)
	}
	panic("bug: source of kind " + string(s.Kind))
}

func (r Settings) npm(ctx context.Context, client *http.Client, s Source) (Place, error) {
	body, _, err := get(ctx, client, r.NPM+"/"+url.PathEscape(s.Name)+"/"+url.PathEscape(s.Version), "application/json", r.NPMToken)
	if err != nil {
		return Place{}, err
	}
	var doc struct {
		Dist struct {
			Tarball string `json:"tarball"`
		} `json:"dist"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.Dist.Tarball == "" {
		return Place{}, fmt.Errorf("npm says nothing of use about %s@%s: %w", s.Name, s.Version, errors.Join(err, ErrNotThere))
	}
	place := Place{URL: doc.Dist.Tarball}
	if host(place.URL) == host(r.NPM) {
		place.Token = r.NPMToken
	}
	return place, nil
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

var (
	separators = regexp.MustCompile(`[-_.]+`)
	links      = regexp.MustCompile(`(?is)<a\s[^>]*href\s*=\s*["']([^"']+)["'][^>]*>([^<]*)</a>`)
)

func (r Settings) pypi(ctx context.Context, client *http.Client, s Source) (Place, error) {
	name := strings.ToLower(separators.ReplaceAllString(s.Name, "-"))
	page := r.PyPI + "/" + name + "/"
	body, final, err := get(ctx, client, page, "application/vnd.pypi.simple.v1+json, text/html;q=0.5", "")
	if err != nil {
		return Place{}, err
	}
	link, ok := pick(files(body), s.Name, s.Version)
	if !ok {
		return Place{}, fmt.Errorf("the package index of Python has no file of %s==%s for %s/%s: %w", s.Name, s.Version, runtime.GOOS, runtime.GOARCH, ErrNotThere)
	}
	to, err := final.Parse(link)
	if err != nil {
		return Place{}, fmt.Errorf("address of %s: %w", s.Name, err)
	}
	to.Fragment = ""
	if to.User == nil && to.Host == final.Host {
		to.User = final.User
	}
	return Place{URL: to.String()}, nil
}

// file is one file that an index offers.
type file struct{ name, link string }

// files reads a page of the simple index, as JSON or as HTML.
func files(page []byte) []file {
	var doc struct {
		Files []struct {
			Filename string `json:"filename"`
			URL      string `json:"url"`
		} `json:"files"`
	}
	var all []file
	if json.Unmarshal(page, &doc) == nil {
		for _, f := range doc.Files {
			all = append(all, file{f.Filename, f.URL})
		}
		return all
	}
	for _, m := range links.FindAllSubmatch(page, -1) {
		link := strings.ReplaceAll(string(m[1]), "&amp;", "&")
		address, _, _ := strings.Cut(link, "#")
		all = append(all, file{path.Base(address), link})
	}
	return all
}

// pick returns the link of the wheel of one version that suits this machine.
func pick(all []file, name, version string) (link string, ok bool) {
	stem := strings.ToLower(separators.ReplaceAllString(name, "_")) + "-" + strings.ToLower(version) + "-"
	for _, f := range all {
		lower := strings.ToLower(f.name)
		dash := strings.Index(lower, "-")
		if dash < 0 || !strings.HasSuffix(lower, ".whl") {
			continue
		}
		if !strings.HasPrefix(separators.ReplaceAllString(lower[:dash], "_")+lower[dash:], stem) {
			continue
		}
		if suits(strings.TrimSuffix(lower, ".whl"), runtime.GOOS, runtime.GOARCH) {
			return f.link, true
		}
	}
	return "", false
}

// suits reports whether the wheel called name is for a system.
func suits(name, system, arch string) bool {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	platform := name[strings.LastIndex(name, "-")+1:]
	switch {
	case platform == "any":
		return true
	case system == "linux":
		return strings.HasPrefix(platform, "manylinux") && machine != "" && strings.HasSuffix(platform, machine)
	case system == "darwin":
		return strings.HasPrefix(platform, "macosx") && (strings.HasSuffix(platform, "universal2") || strings.HasSuffix(platform, "arm64") && arch == "arm64" || strings.HasSuffix(platform, "x86_64") && arch == "amd64")
	}
	return false
}

const (
	tries     = 4
	firstWait = 500 * time.Millisecond
)

// get fetches a small document and says which address answered. A registry that is
// away is asked a few times.
func get(ctx context.Context, client *http.Client, address, accept, token string) (body []byte, final *url.URL, err error) {
	for try := range tries {
		if try > 0 {
			if !lifecycle.Sleep(ctx, firstWait<<(try-1)) {
				return nil, nil, context.Cause(ctx)
			}
		}
		if body, final, err = getOnce(ctx, client, address, accept, token); job.KindOf(err) != job.Unavailable {
			break
		}
	}
	return body, final, err
}

func getOnce(ctx context.Context, client *http.Client, address, accept, token string) ([]byte, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the registry: %w", err)
	}
	req.Header.Set("Accept", accept)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, &job.Error{Op: "registry.get", Kind: job.Unavailable, Public: "The registry cannot be reached.", Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, fmt.Errorf("%s: %w", req.URL.Redacted(), ErrNotThere)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, &job.Error{Op: "registry.get", Kind: job.Unavailable, Public: "The registry cannot be used now.", Err: fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxIndex))
	if err != nil {
		return nil, nil, &job.Error{Op: "registry.get", Kind: job.Unavailable, Public: "The registry stopped in the middle of its answer.", Err: err}
	}
	return body, resp.Request.URL, nil
}
