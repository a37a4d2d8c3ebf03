package model

// inferArray is the type that np.array gives values.
func inferArray(cells []value) DType {
	if len(cells) == 0 {
		return Float64
	}
	t := Invalid
	for i := range cells {
		var c DType
		switch cells[i].kind { //nolint:exhaustive // the others make objects
		case boolean:
			c = Bool
		case integer:
			c = Int64
		case natural:
			c = Uint64
		case number:
			c = Float64
		case text:
			c = String
		default:
			return objectType
		}
		switch {
		case t == Invalid || t == c:
			t = c
		case t == String || c == String:
			t = String // objects end this, so the rest has to be seen
		default:
			t = promote(t, c)
		}
	}
	return t
}

// promote is np.result_type of two types of numbers or booleans.
func promote(a, b DType) DType {
	if a == b || b == Bool {
		return a
	}
	if a == Bool {
		return b
	}
	ka, kb := classOf(a), classOf(b)
	if ka == kb {
		return wider2(a, b)
	}
	if ka > kb {
		a, b, kb = b, a, ka
	}
	switch { // the classes are in the order signed, unsigned, float
	case kb == floatClass: // the smallest float that holds the integers of a
		need := map[int]DType{1: Float16, 2: Float32}[a.Size()]
		if need == Invalid {
			need = Float64
		}
		return wider2(need, b)
	case b == Uint64:
		return Float64
	default: // signed and unsigned
		return wider2(a, map[int]DType{1: Int16, 2: Int32, 4: Int64}[b.Size()])
	}
}

func wider2(a, b DType) DType {
	if a.Size() >= b.Size() {
		return a
	}
	return b
}

type class uint8

const (
	otherClass class = iota
	boolClass
	signedClass
	unsignedClass
	floatClass
)

// classOf is numpy's kind of a type.
func classOf(t DType) class {
	switch t { //nolint:exhaustive // the others have none
	case Bool:
		return boolClass
	case Int8, Int16, Int32, Int64:
		return signedClass
	case Uint8, Uint16, Uint32, Uint64:
		return unsignedClass
	case Float16, Float32, Float64:
		return floatClass
	default:
		return otherClass
	}
}
