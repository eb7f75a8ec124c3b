module github.com/voicemill/voicemill/migrations

go 1.26.0
