// Everything of libcoldpress. What these headers declare is the library's interface; they need
// nothing but the standard library.
#pragma once

#include "coldpress/evaluate.h"
#include "coldpress/method.h"
#include "coldpress/quantize.h"
#include "coldpress/solve.h"
#include "coldpress/version.h"
