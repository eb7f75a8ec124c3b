module github.com/voicemill/voicemill/gateway

go 1.26.0

require (
	github.com/voicemill/voicemill/job v0.0.0
	github.com/voicemill/voicemill/api v0.0.0
	github.com/voicemill/voicemill/platform v0.0.0
	github.com/voicemill/voicemill/migrations v0.0.0
	github.com/panjf2000/gnet/v2 v2.10.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/prometheus/client_golang v1.25.0
	github.com/getkin/kin-openapi v0.152.0
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
	google.golang.org/protobuf v1.36.12
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/throttled/throttled/v2 v2.15.0
	github.com/valyala/fasthttp v1.74.0
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/stretchr/testify v1.12.1
	github.com/google/go-cmp v0.7.0
	go.uber.org/goleak v1.3.0
)

replace github.com/voicemill/voicemill/job => ../job

replace github.com/voicemill/voicemill/api => ../api

replace github.com/voicemill/voicemill/platform => ../platform

replace github.com/voicemill/voicemill/migrations => ../migrations
