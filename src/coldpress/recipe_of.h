// From the public options, which are text and numbers, to the recipe that the layers below take.
#pragma once

#include <string>

#include "base/dtype.h"
#include "base/status.h"
#include "coldpress/method.h"
#include "coldpress/quantize.h"
#include "pipeline/recipe.h"
#include "pipeline/target.h"

namespace coldpress {

// The method's and the grid's part of a recipe. Names of methods and grids are not looked up yet.
Result<Recipe> recipe_of(const MethodOptions& options);
// Of all options, the preset and the recipe's file among them.
Result<Recipe> recipe_of(const QuantizeOptions& options);

Result<Target> target_of(const QuantizeOptions& options);

// Refuses fewer than 0; all cores for 0.
Result<int> threads_of(int requested);

}  // namespace coldpress
