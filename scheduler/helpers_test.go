package scheduler_test

import (
	"encoding/json"

	"github.com/voicemill/voicemill/platform/blob"
)

func jsonOf(v any) ([]byte, error) { return json.Marshal(v) }

func putOptions() blob.PutOptions { return blob.PutOptions{ContentType: "text/plain"} }
