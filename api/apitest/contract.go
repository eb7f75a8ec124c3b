package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/voicemill/voicemill/api"
)

// Contract is the description, ready to check against. It is safe for concurrent
// use.
type Contract struct {
	doc        *openapi3.T
	router     routers.Router
	headers    openapi3.Headers              // that any answer may have
	unrouted   map[string]*openapi3.Response // answers, by status, to what no operation describes
	unreadable map[string]*openapi3.Response // answers, by status, to any request that the server cannot read
}

// The extensions of the contract that say what OpenAPI has no place for.
const (
	extHeaders    = "x-answer-headers"
	extUnrouted   = "x-unrouted-responses"
	extUnreadable = "x-unreadable-responses"
	extItem       = "x-item-schema"
)

// Load reads the contract and checks that it is a valid one.
func Load(ctx context.Context) (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("apitest: read the contract: %w", err)
	}
	if err := doc.Validate(ctx, openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("apitest: the contract is not valid: %w", err)
	}
	doc.Servers = nil // a test's server may be anywhere
	c := &Contract{doc: doc}
	if c.router, err = gorillamux.NewRouter(doc); err != nil {
		return nil, fmt.Errorf("apitest: find the paths of the contract: %w", err)
	}
	if c.headers, err = c.headersOf(extHeaders); err != nil {
		return nil, err
	}
	if c.unrouted, err = c.responsesOf(extUnrouted); err != nil {
		return nil, err
	}
	c.unreadable, err = c.responsesOf(extUnreadable)
	return c, err
}

// refs reads an extension that maps names to references of components.
func (c *Contract) refs(extension, kind string) (map[string]string, error) {
	raw, err := json.Marshal(c.doc.Extensions[extension])
	if err != nil {
		return nil, fmt.Errorf("apitest: read %s: %w", extension, err)
	}
	var list map[string]struct {
		Ref string `json:"$ref"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("apitest: read %s: %w", extension, err)
	}
	names := make(map[string]string, len(list))
	for key, r := range list {
		name, ok := strings.CutPrefix(r.Ref, "#/components/"+kind+"/")
		if !ok {
			return nil, fmt.Errorf("apitest: %s: %s is %q, not a reference into components/%s", extension, key, r.Ref, kind)
		}
		names[key] = name
	}
	return names, nil
}

func (c *Contract) headersOf(extension string) (openapi3.Headers, error) {
	names, err := c.refs(extension, "headers")
	if err != nil {
		return nil, err
	}
	found := make(openapi3.Headers, len(names))
	for field, name := range names {
		if found[field] = c.doc.Components.Headers[name]; found[field] == nil {
			return nil, fmt.Errorf("apitest: %s: there is no header %q", extension, name)
		}
	}
	return found, nil
}

func (c *Contract) responsesOf(extension string) (map[string]*openapi3.Response, error) {
	names, err := c.refs(extension, "responses")
	if err != nil {
		return nil, err
	}
	found := make(map[string]*openapi3.Response, len(names))
	for status, name := range names {
		r := c.doc.Components.Responses[name]
		if r == nil {
			return nil, fmt.Errorf("apitest: %s: there is no response %q", extension, name)
		}
		found[status] = r.Value
	}
	return found, nil
}

// Message holds a JSON value against a schema of the contract, by its name.
func (c *Contract) Message(schema string, raw []byte) error {
	s := c.doc.Components.Schemas[schema]
	if s == nil {
		return fmt.Errorf("apitest: the contract has no schema %q", schema)
	}
	return match(s.Value, raw)
}

// Operations lists what the contract describes, as "METHOD path".
func (c *Contract) Operations() []string {
	var list []string
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			list = append(list, method+" "+path)
		}
	}
	return list
}

// match holds one JSON value against a schema.
func match(s *openapi3.Schema, raw []byte) error {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("%w in %.200q", err, raw)
	}
	if err := s.VisitJSON(value, openapi3.MultiErrors(), openapi3.EnableJSONSchema2020()); err != nil {
		return fmt.Errorf("%w in %.2000s", err, raw)
	}
	return nil
}

// find returns the route of a request; a HEAD is the GET it asks about.
func (c *Contract) find(req *http.Request) (*routers.Route, map[string]string, error) {
	if req.Method == http.MethodHead {
		req = req.Clone(req.Context())
		req.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		return nil, nil, err
	}
	return route, params, nil
}
