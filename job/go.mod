module github.com/voicemill/voicemill/job

go 1.26.0
