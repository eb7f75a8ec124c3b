module github.com/voicemill/voicemill/worker

go 1.26.0

require (
	github.com/voicemill/voicemill/job v0.0.0
	github.com/voicemill/voicemill/api v0.0.0
	github.com/voicemill/voicemill/platform v0.0.0
	github.com/voicemill/voicemill/migrations v0.0.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/ebitengine/purego v0.11.3
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
	pgregory.net/rapid v1.3.0
	github.com/stretchr/testify v1.12.1
	github.com/google/go-cmp v0.7.0
	go.uber.org/goleak v1.3.0
)

replace github.com/voicemill/voicemill/job => ../job

replace github.com/voicemill/voicemill/api => ../api

replace github.com/voicemill/voicemill/platform => ../platform

replace github.com/voicemill/voicemill/migrations => ../migrations
