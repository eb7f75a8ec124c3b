module github.com/voicemill/voicemill/voicemill

go 1.26.0

require (
	github.com/voicemill/voicemill/job v0.0.0
	github.com/voicemill/voicemill/api v0.0.0
	github.com/voicemill/voicemill/platform v0.0.0
	github.com/voicemill/voicemill/migrations v0.0.0
	github.com/voicemill/voicemill/gateway v0.0.0
	github.com/voicemill/voicemill/scheduler v0.0.0
	github.com/voicemill/voicemill/worker v0.0.0
	github.com/alecthomas/kong v1.17.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.42.0
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
	github.com/stretchr/testify v1.12.1
	github.com/google/go-cmp v0.7.0
	go.uber.org/goleak v1.3.0
)

replace github.com/voicemill/voicemill/job => ../job

replace github.com/voicemill/voicemill/api => ../api

replace github.com/voicemill/voicemill/platform => ../platform

replace github.com/voicemill/voicemill/migrations => ../migrations

replace github.com/voicemill/voicemill/gateway => ../gateway

replace github.com/voicemill/voicemill/scheduler => ../scheduler

replace github.com/voicemill/voicemill/worker => ../worker
