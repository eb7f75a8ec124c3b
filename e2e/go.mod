module github.com/voicemill/voicemill/e2e

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/stretchr/testify v1.12.1
	github.com/voicemill/voicemill/api v0.0.0
	github.com/voicemill/voicemill/job v0.0.0
	github.com/voicemill/voicemill/migrations v0.0.0
	github.com/voicemill/voicemill/platform v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/go-audio/audio v1.0.0 // indirect
	github.com/go-audio/riff v1.0.0 // indirect
	github.com/go-audio/wav v1.1.0 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/molecule-man/go-brrr v1.0.1 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/valyala/fasthttp v1.74.0 // indirect
)

replace github.com/voicemill/voicemill/job => ../job

replace github.com/voicemill/voicemill/api => ../api

replace github.com/voicemill/voicemill/platform => ../platform

replace github.com/voicemill/voicemill/migrations => ../migrations
