package shadow

import (
	"bytes"
	"math"
	"slices"

	"github.com/millrace/millrace/model"
)

// difference of two answers.
type difference struct {
	differs bool
	numbers int     // that were compared; 0 when the answers cannot be, number by number
	largest float64 // relative difference
	sum     float64 // of the absolute differences
	finite  int     // numbers in the sum
}

// mean is the mean absolute difference.
func (d *difference) mean() float64 { return d.sum / float64(max(d.finite, 1)) }

// absolute tolerance beside the relative one, which is numpy.isclose's.
const absolute = 1e-8

// number compares a number of the shadow with that of the given answer. Two NaNs
// are the same. exact is for types that are not rounded.
func (d *difference) number(got, given, tolerance float64, exact bool) {
	d.numbers++
	off := math.Abs(got - given)
	switch {
	case got == given || math.IsNaN(got) && math.IsNaN(given):
		d.finite++
	case math.IsNaN(off) || math.IsInf(off, 0):
		d.differs, d.largest = true, 2 // as far apart as two numbers can be
	default:
		d.finite++
		d.sum += off
		d.largest = max(d.largest, off/max(math.Abs(got), math.Abs(given)))
		d.differs = d.differs || exact || !(off <= absolute+tolerance*math.Abs(given))
	}
}

// apart is what cannot be compared number by number.
func apart() difference { return difference{differs: true} }

// compare compares the outputs of two versions. Numbers are compared as tensors;
// answers with texts in them, and outputs that are called otherwise, as what
// stands in the answers.
func compare(got, given []model.Tensor, gotValue, givenValue []byte, tolerance float64) difference {
	for _, ts := range [][]model.Tensor{got, given} {
		if slices.ContainsFunc(ts, func(t model.Tensor) bool { return t.DType == model.String }) {
			return compareValues(gotValue, givenValue, tolerance)
		}
	}
	if !slices.EqualFunc(got, given, func(a, b model.Tensor) bool { return a.Name == b.Name }) {
		return compareValues(gotValue, givenValue, tolerance)
	}
	var d difference
	for i := range got {
		if !slices.Equal(got[i].Shape, given[i].Shape) || !slices.Equal(got[i].Labels, given[i].Labels) {
			return apart()
		}
		if !d.tensor(&got[i], &given[i], tolerance) {
			return apart()
		}
	}
	return d
}

func (d *difference) tensor(got, given *model.Tensor, tolerance float64) bool {
	a, ok := got.Floats(nil)
	b, other := given.Floats(nil)
	if !ok || !other || len(a) != len(b) {
		return false
	}
	exact := !rounded(got.DType) && !rounded(given.DType)
	for i := range a {
		d.number(a[i], b[i], tolerance, exact)
	}
	// Integers that float64 does not tell apart.
	d.differs = d.differs || exact && got.DType == given.DType && !bytes.Equal(got.Data, given.Data)
	return true
}

func rounded(t model.DType) bool {
	return t == model.Float16 || t == model.Float32 || t == model.Float64
}
