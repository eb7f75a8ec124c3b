package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/store"
)

const (
	defaultPage = 20
	maxPage     = 100
)

// query reads the parameters of a call; a name that is not known is refused,
// because a filter that is misspelt would return too much. ok is false if the
// call was answered.
func (a *API) query(c *Call, known ...string) (q url.Values, ok bool) {
	raw := c.Query()
	if len(raw) == 0 {
		return url.Values{}, true
	}
	q, err := url.ParseQuery(string(raw))
	if err != nil {
		a.refuse(c, badRequest, "The query is badly encoded.")
		return nil, false
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			a.refuse(c, badRequest, fmt.Sprintf("The query parameter %q is not known here; known: %s.", clip(name), strings.Join(known, ", ")))
			return nil, false
		}
		if slices.ContainsFunc(values, unprintable) {
			a.refuse(c, badRequest, fmt.Sprintf("The query parameter %q has a control character or is not UTF-8.", name))
			return nil, false
		}
		if len(values) > 1 && name != "label" {
			a.refuse(c, badRequest, fmt.Sprintf("The query parameter %q is given more than once.", name))
			return nil, false
		}
	}
	return q, true
}

func unprintable(s string) bool {
	return !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0
}

// limit reads ?limit=.
func (a *API) limit(c *Call, q url.Values) (n int, ok bool) {
	if !q.Has("limit") {
		return defaultPage, true
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > maxPage {
		a.refuse(c, badRequest, fmt.Sprintf("limit must be a whole number from 1 to %d.", maxPage))
		return 0, false
	}
	return n, true
}

// page reads ?limit= and ?cursor= of a list that is ordered by time.
func (a *API) page(c *Call, q url.Values) (after store.Cursor, n int, ok bool) {
	if n, ok = a.limit(c, q); !ok {
		return after, 0, false
	}
	if after, ok = store.ParseCursor(q.Get("cursor")); !ok {
		a.refuse(c, badRequest, "cursor is not one that a list returned.")
	}
	return after, n, ok
}

// choices reads a list of values that are separated by commas.
func choices[T ~string](a *API, c *Call, q url.Values, name string, known []T) (list []T, ok bool) {
	if !q.Has(name) {
		return nil, true
	}
	for value := range strings.SplitSeq(q.Get(name), ",") {
		if !slices.Contains(known, T(value)) {
			a.refuse(c, badRequest, fmt.Sprintf("%s %q is not known; known: %s.", name, clip(value), joined(known)))
			return nil, false
		}
		list = append(list, T(value))
	}
	return list, true
}

func joined[T ~string](list []T) string {
	var b strings.Builder
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(s))
	}
	return b.String()
}

func clip(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
