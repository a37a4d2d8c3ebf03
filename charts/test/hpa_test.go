package test

import (
	"math"
	"time"
)

// The arithmetic of the HorizontalPodAutoscaler that KEDA makes of a ScaledObject, by
// https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
// and k8s.io/kubernetes/pkg/controller/podautoscaler (replica_calculator.go, horizontal.go),
// and of KEDA's Kafka scaler (pkg/scalers/kafka_scaler.go). All pods are taken to be ready.

// tolerance is the difference from a target that changes nothing.
const tolerance = 0.1

// targets are the numbers of a ScaledObject.
type targets struct {
	least, most int
	partitions  int     // that KEDA's Kafka scaler stops at; 0 for no such bound
	lag         float64 // records a pod, AverageValue
	latency     float64 // seconds, Value
	cpu         float64 // percent of the request
}

// reading is what the triggers read.
type reading struct {
	lag     float64 // records of the whole group
	latency float64 // seconds
	cpu     float64 // percent of the request, mean of the pods
}

// desired is the number of pods that the triggers ask for together, and which of
// them asks for most; without stabilisation and policies.
func (t targets) desired(replicas int, r reading) (int, string) {
	lag := r.lag
	if t.partitions > 0 && math.Floor(lag/t.lag) > float64(t.partitions) {
		lag = float64(t.partitions) * t.lag
	}
	most, by := t.least, "least"
	for _, p := range []struct {
		name string
		n    int
	}{
		{"lag", averageValue(replicas, lag, t.lag)},
		{"latency", scaled(replicas, r.latency/t.latency)},
		{"CPU", scaled(replicas, r.cpu/t.cpu)},
	} {
		if p.n > most {
			most, by = p.n, p.name
		}
	}
	if most > t.most {
		most, by = t.most, "most"
	}
	return most, by
}

// averageValue is what a total asks for, of which each pod should have the target.
func averageValue(replicas int, total, target float64) int {
	if tolerated(total / (target * float64(replicas))) {
		return replicas
	}
	return int(math.Ceil(total / target))
}

// scaled is what a ratio of a value, or of a mean, to its target asks for.
func scaled(replicas int, ratio float64) int {
	if tolerated(ratio) {
		return replicas
	}
	return int(math.Ceil(ratio * float64(replicas)))
}

func tolerated(ratio float64) bool { return 1-tolerance <= ratio && ratio <= 1+tolerance }

// policy bounds by how much the size may change in a period.
type policy struct {
	percent bool
	value   int
	period  time.Duration
}

// behavior is one direction of a ScaledObject's behavior. Of several policies the one
// that allows most counts.
type behavior struct {
	window   time.Duration
	policies []policy
}

// sized is the size since a moment.
type sized struct {
	at   time.Duration
	size int
}

// course plays the HPA: it looks at the triggers every period, for as long as
// asked gives it something, and returns the changes of the size. Before, the pool
// has stood at begin.
func course(begin int, up, down behavior, period time.Duration, asked []int) []sized {
	size, changes := begin, []sized{{0, begin}}
	var recommendations []int // one a period
	for i, want := range asked {
		now := time.Duration(i) * period
		recommendations = append(recommendations, want)
		least, most := want, want
		for back := range recommendations {
			age := time.Duration(back) * period
			r := recommendations[i-back]
			if age < up.window {
				least = min(least, r)
			}
			if age < down.window {
				most = max(most, r)
			}
		}
		// What was asked for before the beginning was what there was.
		if now+period < up.window {
			least = min(least, begin)
		}
		if now+period < down.window {
			most = max(most, begin)
		}
		stable := max(size, least)
		stable = min(stable, most)
		if stable > size {
			stable = min(stable, up.limit(size, now, changes, 1))
		} else if stable < size {
			stable = max(stable, down.limit(size, now, changes, -1))
		}
		if stable != size {
			size = stable
			changes = append(changes, sized{now, size})
		}
	}
	return changes
}

// limit is the farthest that a direction's policies allow to go now.
func (b behavior) limit(size int, now time.Duration, changes []sized, sign int) int {
	best := size
	for i, p := range b.policies {
		start := size // at the beginning of the policy's period
		for _, c := range changes {
			if c.at <= now-p.period || c.at == 0 {
				start = c.size
			}
		}
		step := p.value
		if p.percent {
			step = int(math.Ceil(float64(start) * float64(p.value) / 100))
		}
		to := start + sign*step
		if i == 0 || sign*to > sign*best {
			best = to
		}
	}
	return best
}
