package trees

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/model"
)

// answer is what predict makes of the sums: their average over the iterations
// for a random forest, then what the objective has for its scale.
func (h *lgbHeader) answer(iterations int) (answer[float64], error) {
	a := answer[float64]{width: h.perIteration, matrix: h.perIteration > 1, dtype: model.Float64}
	name, args := "", []string(nil)
	if words := strings.Fields(h.objective); len(words) > 0 {
		name, args = words[0], words[1:]
	}
	convert, err := lgbConvert(name, args)
	if err != nil {
		return a, err
	}
	if strings.HasPrefix(name, "multiclass") && h.perIteration != h.classes {
		return a, fmt.Errorf("objective %s of %d classes has %d trees an iteration", name, h.classes, h.perIteration)
	}
	a.finish = convert
	if h.average && iterations > 0 {
		n := float64(iterations)
		a.finish = func(sums []float64) {
			for i := range sums {
				sums[i] /= n
			}
			if convert != nil {
				convert(sums)
			}
		}
	}
	return a, nil
}

// lgbConvert is an objective's ConvertOutput.
func lgbConvert(name string, args []string) (func(sums []float64), error) {
	switch name {
	case "regression":
		if slices.Contains(args, "sqrt") {
			return each(signedSquare), nil
		}
		return nil, nil //nolint:nilnil // the sums are the answer
	case "regression_l1":
		if slices.Contains(args, "sqrt") {
			return each(signedSquare), nil
		}
		return nil, nil //nolint:nilnil // likewise
	case "", "custom", "none", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg":
		return nil, nil //nolint:nilnil // likewise
	case "poisson", "gamma", "tweedie":
		return each(exp), nil
	case "binary", "multiclassova":
		scale, err := sigmoidOf(args)
		return each(func(x float64) float64 { return 1 / (1 + exp(-scale*x)) }), err
	case "multiclass":
		return softmax64, nil
	case "cross_entropy":
		return each(func(x float64) float64 { return 1 / (1 + exp(-x)) }), nil
	case "cross_entropy_lambda":
		return each(func(x float64) float64 { return math.Log1p(exp(x)) }), nil
	default:
		return nil, unsupported("LightGBM's objective %q", clip(name))
	}
}

func each[F number](f func(F) F) func(sums []F) {
	return func(sums []F) {
		for i, x := range sums {
			sums[i] = f(x)
		}
	}
}

func signedSquare(x float64) float64 { return math.Copysign(x*x, x) }

// sigmoidOf is the parameter sigmoid, as in "sigmoid:1".
func sigmoidOf(args []string) (float64, error) {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "sigmoid:"); ok {
			x, err := strconv.ParseFloat(v, 64)
			if err != nil || !(x > 0) {
				return 0, fmt.Errorf("objective: sigmoid %q is not above 0", clip(v))
			}
			return x, nil
		}
	}
	return 1, nil
}

func softmax64(x []float64) {
	most, sum := slices.Max(x), 0.0
	for i := range x {
		x[i] = exp(x[i] - most)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}
