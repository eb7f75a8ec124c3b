package client_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

// members returns the names that a type has in JSON.
func members(v any) []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestOurTypesHaveTheMembersOfTheContract holds the types that are written by
// hand, because the server has them, too, against those that are generated.
func TestOurTypesHaveTheMembersOfTheContract(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ours, contract any }{
		"job": {jobdoc.Document{}, openapi.Job{}}, "event": {jobdoc.Event{}, openapi.Event{}}, "progress": {jobdoc.Progress{}, openapi.Progress{}},
		"spec": {job.Spec{}, openapi.Spec{}}, "segment": {client.Segment{}, openapi.Segment{}}, "upload": {client.Upload{}, openapi.Upload{}},
	} {
		if diff := cmp.Diff(members(c.contract), members(c.ours)); diff != "" {
			t.Errorf("%s (-contract +ours):\n%s", name, diff)
		}
	}
	both := append(members(openapi.Key{}), members(openapi.NewKey{})...)
	slices.Sort(both)
	if diff := cmp.Diff(slices.Compact(both), members(client.Key{})); diff != "" {
		t.Errorf("key (-contract +ours):\n%s", diff)
	}
}
