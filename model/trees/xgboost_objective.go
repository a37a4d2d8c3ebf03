package trees

import (
	"math"
	"slices"
)

// xgbObjective is what an objective has for the scale of the sums: XGBoost's
// PredTransform and ProbToMargin.
type xgbObjective struct {
	finish func(sums []float32)    // nil when the sums are the answer
	margin func(x float32) float32 // of base_score; nil when it is a sum already
	argmax bool                    // the answer is the class, as a number
}

// logit is the inverse of the logistic function, in float32 as there.
func logit(p float32) float32 { return -float32(math.Log(float64(1/p - 1))) }

func logistic(x float32) float32 {
	const most, tiny = 88.7, 1e-16 // what keeps exp within float32
	return 1 / (float32(exp(float64(min(-x, most)))) + 1 + tiny)
}

func exponential(x float32) float32 { return float32(exp(float64(x))) }

func logarithm(x float32) float32 { return float32(math.Log(float64(x))) }

func xgbObjectiveOf(name string) (xgbObjective, error) {
	switch name {
	case "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror", "binary:logitraw",
		"rank:pairwise", "rank:ndcg", "rank:map":
		return xgbObjective{}, nil
	case "reg:logistic", "binary:logistic":
		return xgbObjective{finish: each(logistic), margin: logit}, nil
	case "binary:hinge":
		return xgbObjective{finish: each(func(x float32) float32 {
			if x > 0 {
				return 1
			}
			return 0
		})}, nil
	case "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft":
		return xgbObjective{finish: each(exponential), margin: logarithm}, nil
	case "multi:softprob":
		return xgbObjective{finish: softmax32}, nil
	case "multi:softmax":
		return xgbObjective{argmax: true, finish: func(sums []float32) { sums[0] = float32(best(sums)) }}, nil
	default:
		return xgbObjective{}, unsupported("XGBoost's objective %q", clip(name))
	}
}

// best is the first of the largest numbers.
func best(x []float32) int {
	at := 0
	for i := range x {
		if x[i] > x[at] {
			at = i
		}
	}
	return at
}

func softmax32(x []float32) {
	most, sum := slices.Max(x), 0.0
	for i := range x {
		x[i] = exponential(x[i] - most)
		sum += float64(x[i])
	}
	for i := range x {
		x[i] /= float32(sum)
	}
}
