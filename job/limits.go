package job

import (
	"fmt"
	"time"
)

// Limits bound what one request may ask for. Each has its own problem type in
// the API. The zero value is not useful; start from [DefaultLimits].
type Limits struct {
	TextBytes      int           // inline text
	UploadBytes    int64         // one uploaded document
	Segments       int           // segments of one job
	Labels         int           // labels of one job
	LabelBytes     int           // one label's key or value
	SegmentSeconds float64       // predicted audio of one segment
	Attempts       int           // tries of one segment before it has failed
	Chapters       int           // chapters of one job
	UploadExpiry   time.Duration // how long a presigned upload URL works
}

// DefaultLimits are the published limits of version 1.
func DefaultLimits() Limits {
	return Limits{
		TextBytes: 256 << 10, UploadBytes: 512 << 20, Segments: 200_000, Labels: 64, LabelBytes: 256,
		SegmentSeconds: 18, Attempts: 3, Chapters: 5_000, UploadExpiry: time.Hour,
	}
}

// Validate reports the first limit that makes no sense.
func (l Limits) Validate() error {
	for name, v := range map[string]float64{
		"text_bytes": float64(l.TextBytes), "upload_bytes": float64(l.UploadBytes), "segments": float64(l.Segments),
		"labels": float64(l.Labels), "label_bytes": float64(l.LabelBytes), "segment_seconds": l.SegmentSeconds,
		"attempts": float64(l.Attempts), "chapters": float64(l.Chapters), "upload_expiry": float64(l.UploadExpiry),
	} {
		if v <= 0 {
			return fmt.Errorf("limit %s is %v; it must be positive", name, v)
		}
	}
	if l.SegmentSeconds > 25 {
		return fmt.Errorf("limit segment_seconds is %v; engines cut off past 25", l.SegmentSeconds)
	}
	return nil
}
