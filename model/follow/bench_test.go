package follow_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// BenchmarkObserve is what an executor pays a call of the model.
func BenchmarkObserve(b *testing.B) {
	r := &registry{}
	r.set("1", "id1", nil)
	f, err := follow.New(
		follow.Config{Poll: time.Hour, RetryMin: time.Second, RetryMax: time.Minute, LoadTimeout: time.Minute},
		follow.Deps{Targets: []follow.Target{{Reference: "x", Resolve: r.resolve, Load: r.load}}})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = f.Run(b.Context()) }()
	s := (*model.Snapshot)(nil)
	for s == nil {
		s, _ = f.Acquire("")
	}
	defer func() { _ = s.Release() }()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.Observe(s, true, 317*time.Microsecond, 64)
		}
	})
}
