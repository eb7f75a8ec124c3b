package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
)

const (
	defaultPage = 20
	maxPage     = 100
)

// query reads the parameters of a call; a name that is not known is refused,
// because a filter that is misspelt would return too much.
func (c *Call) query(known ...string) (url.Values, error) {
	raw := c.Query()
	if len(raw) == 0 {
		return url.Values{}, nil
	}
	q, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, problem.New(problem.BadRequest, "The query is badly encoded.")
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return nil, problem.Newf(problem.BadRequest, "The query parameter %q is not known here; known: %s.", problem.Clip(name), strings.Join(known, ", "))
		}
		if slices.ContainsFunc(values, unprintable) {
			return nil, problem.Newf(problem.BadRequest, "The query parameter %q has a control character or is not UTF-8.", name)
		}
		if len(values) > 1 && name != "label" {
			return nil, problem.Newf(problem.BadRequest, "The query parameter %q is given more than once.", name)
		}
	}
	return q, nil
}

func unprintable(s string) bool {
	return !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0
}

// whole reads a whole number as the contract has it: digits, no sign.
func whole(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && text[0] < '0' { // a sign
		err = strconv.ErrSyntax
	}
	return n, err
}

// pageSize reads ?limit=.
func pageSize(q url.Values) (int, error) {
	if !q.Has("limit") {
		return defaultPage, nil
	}
	n, err := whole(q.Get("limit"))
	if err != nil || n < 1 || n > maxPage {
		return 0, problem.Newf(problem.BadRequest, "limit must be a whole number from 1 to %d.", maxPage)
	}
	return n, nil
}

// page reads ?limit= and ?cursor= of a list that is ordered by time.
func page(q url.Values) (after store.Cursor, n int, err error) {
	if n, err = pageSize(q); err != nil {
		return after, 0, err
	}
	after, ok := store.ParseCursor(q.Get("cursor"))
	if !ok {
		return after, 0, badCursor()
	}
	return after, n, nil
}

// listed answers with a page of what there is, each as its document.
func listed[T, D any](ctx context.Context, c *Call, find func(context.Context, *operation.Caller, store.Cursor, int) ([]T, string, error), document func(T) D) (*Answer, error) {
	q, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	after, limit, err := page(q)
	if err != nil {
		return nil, err
	}
	found, next, err := find(ctx, &c.caller, after, limit)
	if err != nil {
		return nil, err
	}
	answer := list[D]{Items: make([]D, 0, len(found)), Next: next}
	for _, f := range found {
		answer.Items = append(answer.Items, document(f))
	}
	return reply(http.StatusOK, &answer), nil
}

// choices reads a list of values that are separated by commas.
func choices[T ~string](q url.Values, name string, known []T) (list []T, err error) {
	if !q.Has(name) {
		return nil, nil
	}
	for value := range strings.SplitSeq(q.Get(name), ",") {
		if !slices.Contains(known, T(value)) {
			return nil, problem.Newf(problem.BadRequest, "%s %q is not known; known: %s.", name, problem.Clip(value), operation.Joined(known))
		}
		list = append(list, T(value))
	}
	return list, nil
}

func badCursor() error {
	return problem.New(problem.BadRequest, "cursor is not one that a list returned.")
}
