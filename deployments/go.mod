module github.com/voicemill/voicemill/deployments

go 1.26.0
