module github.com/voicemill/voicemill/platform

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/google/go-cmp v0.7.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/jackc/puddle/v2 v2.2.3
	github.com/minio/minio-go/v7 v7.4.1
	github.com/nats-io/nats-server/v2 v2.15.2
	github.com/nats-io/nats.go v1.55.0
	github.com/pressly/goose/v3 v3.29.0
	github.com/prometheus/client_golang v1.25.0
	github.com/stretchr/testify v1.12.1
	github.com/versity/versitygw v1.8.0
	github.com/voicemill/voicemill/job v0.0.0
	github.com/voicemill/voicemill/migrations v0.0.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/aws/aws-sdk-go-v2/service/s3 v1.109.1
	github.com/prometheus/common v0.73.1 // indirect
)

replace github.com/voicemill/voicemill/job => ../job

replace github.com/voicemill/voicemill/migrations => ../migrations
