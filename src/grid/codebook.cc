#include "grid/codebook.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"

namespace coldpress {
namespace {

constexpr std::size_t kMostHalves = 256;
// A point has to be better by more than the rounding of its own cost.
constexpr float kClearly = 1.0F - 1e-5F;
// Subtrees at least this large are worth asking whether any lane needs them.
constexpr int32_t kWorthSkipping = 6;

Lanes smaller(Lanes a, Lanes b) { return b < a ? b : a; }

}  // namespace

Codebook::Codebook(View2<const float> words, bool even_signs)
    : length_(words.cols), even_signs_(even_signs) {
  COLDPRESS_CHECK((length_ == kUnit / 2 || length_ == kUnit) && words.rows > 0);
  for (int64_t k = 0; k < words.rows; ++k) {
    magnitude_.insert(magnitude_.end(), words.row(k), words.row(k) + length_);
  }
  std::sort(magnitude_.begin(), magnitude_.end());
  magnitude_.erase(std::unique(magnitude_.begin(), magnitude_.end()), magnitude_.end());
  COLDPRESS_CHECK(magnitude_.size() <= kMagnitudes && magnitude_.front() > 0);
  for (auto m = magnitude_.rbegin(); m != magnitude_.rend(); ++m) levels_.push_back(-*m);
  levels_.insert(levels_.end(), magnitude_.begin(), magnitude_.end());
  std::map<std::array<uint8_t, kUnit>, uint16_t> sorted;
  for (int64_t k = 0; k < words.rows; ++k) {
    std::array<uint8_t, kUnit> word{};
    for (int64_t j = 0; j < length_; ++j) {
      const auto at = std::find(magnitude_.begin(), magnitude_.end(), words(k, j));
      word[static_cast<std::size_t>(j)] = static_cast<uint8_t>(at - magnitude_.begin());
    }
    sorted.emplace(word, static_cast<uint16_t>(k));
  }
  for (const auto& [word, number] : sorted) {
    word_.push_back(word);
    number_.push_back(number);
  }
  make_halves();
  make_tree();
}

void Codebook::make_halves() {
  const auto width = static_cast<std::size_t>(length_ / 2);
  halves_of_.resize(word_.size());
  for (std::size_t side = 0; side < 2; ++side) {
    std::map<std::array<uint8_t, kUnit / 2>, uint16_t> known;
    for (std::size_t k = 0; k < word_.size(); ++k) {
      std::array<uint8_t, kUnit / 2> half{};
      std::copy_n(word_[k].begin() + static_cast<std::ptrdiff_t>(side * width), width,
                  half.begin());
      const auto [at, is_new] = known.emplace(half, static_cast<uint16_t>(half_[side].size()));
      if (is_new) half_[side].push_back(half);
      halves_of_[k][side] = at->second;
    }
    COLDPRESS_CHECK(half_[side].size() <= kMostHalves);
  }
}

void Codebook::make_tree() {
  std::vector<std::size_t> open;  // the path to the latest leaf
  for (std::size_t k = 0; k < word_.size(); ++k) {
    std::size_t shared = 0;
    while (k > 0 && word_[k][shared] == word_[k - 1][shared]) ++shared;
    for (std::size_t d = shared; d < open.size(); ++d) {
      tree_[open[d]].next = static_cast<int32_t>(tree_.size());
    }
    open.resize(shared);
    for (std::size_t d = shared; d < static_cast<std::size_t>(length_); ++d) {
      open.push_back(tree_.size());
      tree_.push_back(
          {magnitude_[word_[k][d]], static_cast<int32_t>(d), 0, static_cast<int32_t>(k)});
    }
  }
  for (const std::size_t node : open) tree_[node].next = static_cast<int32_t>(tree_.size());
}

// The nearest codeword for a part of a unit, and with kEven also the nearest if one sign is
// flipped, which costs 4 |target| step level at the column where that is least.
template <bool kEven>
std::array<Codebook::Found, 2> Codebook::search(const Lanes* target, const Lanes* step) const {
  const auto width = static_cast<std::size_t>(length_ / 2);
  std::array<std::array<Lanes, kMostHalves>, 2> cost;
  std::array<std::array<Lanes, kEven ? kMostHalves : 1>, 2> flip;
  for (std::size_t side = 0; side < 2; ++side) {
    std::array<std::array<Lanes, kMagnitudes>, kUnit / 2> square;
    std::array<std::array<Lanes, kMagnitudes>, kUnit / 2> turn;
    for (std::size_t j = 0; j < width; ++j) {
      const Lanes t = magnitude(target[side * width + j]);
      for (std::size_t m = 0; m < magnitude_.size(); ++m) {
        const Lanes value = step[side * width + j] * magnitude_[m];
        const Lanes e = t - value;
        square[j][m] = e * e;
        if (kEven) turn[j][m] = 4.0F * t * value;
      }
    }
    for (std::size_t h = 0; h < half_[side].size(); ++h) {
      const auto& half = half_[side][h];
      Lanes sum = square[0][half[0]];
      for (std::size_t j = 1; j < width; ++j) sum += square[j][half[j]];
      cost[side][h] = sum;
      if (!kEven) continue;
      Lanes least = turn[0][half[0]];
      for (std::size_t j = 1; j < width; ++j) least = smaller(least, turn[j][half[j]]);
      flip[side][h] = least;
    }
  }
  std::array<Found, 2> best;
  best.fill({every_lane(HUGE_VALF), LaneInts{}});
  for (std::size_t k = 0; k < halves_of_.size(); ++k) {
    const auto [a, b] = halves_of_[k];
    const LaneInts word = every_lane(static_cast<int32_t>(k));
    const auto consider = [word](Lanes c, Found* found) {
      const LaneInts better = c < found->cost;
      found->cost = better ? c : found->cost;
      found->word = better ? word : found->word;
    };
    const Lanes c = cost[0][a] + cost[1][b];
    consider(c, &best[0]);
    if constexpr (kEven) consider(c + smaller(flip[0][a], flip[1][b]), &best[1]);
  }
  return best;
}

template <bool kEven>
void Codebook::nearest_point(const Unit& target, const Unit& step, Unit* level) const {
  const std::size_t parts = kUnit / static_cast<std::size_t>(length_);
  const auto length = static_cast<std::size_t>(length_);
  std::array<std::array<Found, 2>, 2> best;
  for (std::size_t p = 0; p < parts; ++p) {
    best[p] = search<kEven>(target.data() + p * length, step.data() + p * length);
  }
  LaneInts odd{};
  for (const Lanes& t : target) odd ^= is_negative(t);
  std::array<LaneInts, 2> flips{};
  if (kEven) {
    flips[0] = odd;
    if (parts == 2) {
      flips[0] &= best[0][1].cost + best[1][0].cost < best[0][0].cost + best[1][1].cost;
      flips[1] = odd & ~flips[0];
    }
  }
  for (std::size_t p = 0; p < parts; ++p) {
    const LaneInts word = kEven ? (flips[p] ? best[p][1].word : best[p][0].word) : best[p][0].word;
    const std::size_t first = p * length;
    std::array<Lanes, kUnit> value;
    for (int64_t i = 0; i < kLanes; ++i) {
      for (std::size_t j = 0; j < length; ++j) {
        value[j][i] = level_of(word[i], static_cast<int64_t>(j));
      }
    }
    if (kEven && any(flips[p])) {
      Lanes least = magnitude(target[first]) * step[first] * value[0];
      LaneInts at{};
      for (std::size_t j = 1; j < length; ++j) {
        const Lanes cost = magnitude(target[first + j]) * step[first + j] * value[j];
        at = cost < least ? every_lane(static_cast<int32_t>(j)) : at;
        least = smaller(least, cost);
      }
      for (std::size_t j = 0; j < length; ++j) {
        const LaneInts here = flips[p] & (at == every_lane(static_cast<int32_t>(j)));
        value[j] = here ? -value[j] : value[j];
      }
    }
    for (std::size_t j = 0; j < length; ++j) {
      (*level)[first + j] = with_sign_of(value[j], target[first + j]);
    }
  }
}

void Codebook::nearest(const Unit& target, const Unit& step, Unit* level) const {
  if (even_signs_) return nearest_point<true>(target, step, level);
  nearest_point<false>(target, step, level);
}

// The codeword of least cost below found->cost for a part of a unit whose signs follow the targets.
// With kEven a leaf with an odd number of columns below 0 (`odd`: of the parts before) also pays
// for the cheapest flip (`flip`: before), as if nothing came after it.
template <bool kEven>
void Codebook::walk(const Lanes* target, const Lanes* step, const Lanes* inverse, const float* u,
                    LaneInts odd, Lanes flip, Found* found) const {
  const auto length = static_cast<std::size_t>(length_);
  std::array<std::array<Lanes, kUnit>, kUnit> t;  // of the columns from d on, at depth d
  std::array<Lanes, kUnit> cost;
  std::array<LaneInts, kUnit> odds;
  std::array<Lanes, kUnit> flips;
  std::copy_n(target, length, t[0].begin());
  cost[0] = Lanes{};
  odds[0] = odd;
  flips[0] = flip;
  const auto size = static_cast<int32_t>(tree_.size());
  for (int32_t k = 0; k < size;) {
    const Node& node = tree_[static_cast<std::size_t>(k)];
    const auto d = static_cast<std::size_t>(node.depth);
    const Lanes size_of = magnitude(t[d][d]);
    const Lanes value = step[d] * node.magnitude;
    const Lanes e = (size_of - value) * inverse[d];
    Lanes c = cost[d] + e * e;
    const bool is_leaf = d + 1 == length;
    if (!is_leaf && node.next - k >= kWorthSkipping && !any(c < found->cost)) {
      k = node.next;
      continue;
    }
    LaneInts odd_here{};
    Lanes flip_here{};
    if (kEven) {
      odd_here = odds[d] ^ is_negative(t[d][d]);
      flip_here = smaller(flips[d], 4.0F * size_of * value * inverse[d] * inverse[d]);
    }
    ++k;
    if (is_leaf) {
      if (kEven) c += odd_here ? flip_here : Lanes{};
      const LaneInts better = c < found->cost;
      found->cost = better ? c : found->cost;
      found->word = better ? every_lane(node.word) : found->word;
      continue;
    }
    const Lanes signed_e = with_sign_of(e, t[d][d]);
    const float* row = u + d * kUnit;
    for (std::size_t j = d + 1; j < length; ++j) t[d + 1][j] = t[d][j] - row[j] * signed_e;
    cost[d + 1] = c;
    if (kEven) {
      odds[d + 1] = odd_here;
      flips[d + 1] = flip_here;
    }
  }
}

template <bool kEven>
LaneInts Codebook::improve_point(const Unit& target, const Unit& step, const float* u,
                                 Unit* q) const {
  const auto length = static_cast<std::size_t>(length_);
  Unit inverse;
  for (std::size_t j = 0; j < kUnit; ++j) inverse[j] = every_lane(1.0F / u[j * kUnit + j]);
  // Spreads the error of column j over the later ones of `t`; returns its share of the cost.
  const auto spread = [&](std::size_t j, Lanes point, Unit* t) {
    const Lanes e = ((*t)[j] - point) * inverse[j];
    for (std::size_t k = j + 1; k < kUnit; ++k) (*t)[k] -= u[j * kUnit + k] * e;
    return e * e;
  };
  const auto cost_of = [&](const Unit& point) {
    Unit t = target;
    Lanes sum{};
    for (std::size_t j = 0; j < kUnit; ++j) sum += spread(j, point[j], &t);
    return sum;
  };
  // The parts from `first` on chosen one after the other, those before as they are in `q`.
  const auto choose_from = [&](std::size_t first) {
    Unit t = target;
    Unit point = *q;
    LaneInts odd{};
    Lanes flip = every_lane(HUGE_VALF);
    for (std::size_t p = 0; p < kUnit; p += length) {
      Found found{Lanes{}, every_lane(-1)};
      if (p >= first) {
        Unit as_now = t;
        for (std::size_t j = p; j < p + length; ++j) found.cost += spread(j, point[j], &as_now);
        const bool is_last = p + length == kUnit;
        const float* block = u + p * kUnit + p;
        if (kEven && is_last) {
          // What is there now may be odd by itself, after another first part.
          if (p > 0) found.cost = every_lane(HUGE_VALF);
          walk<true>(t.data() + p, step.data() + p, inverse.data() + p, block, odd, flip, &found);
        } else {
          walk<false>(t.data() + p, step.data() + p, inverse.data() + p, block, odd, flip, &found);
        }
      }
      const LaneInts is_new = found.word >= LaneInts{};
      for (std::size_t j = 0; j < length; ++j) {
        Lanes level{};
        for (int64_t i = 0; i < kLanes; ++i) {
          level[i] = level_of(std::max(found.word[i], 0), static_cast<int64_t>(j));
        }
        const Lanes now = t[p + j];
        const Lanes chosen = with_sign_of(step[p + j] * level, now);
        point[p + j] = is_new ? chosen : point[p + j];
        if (kEven) {
          odd ^= is_new ? is_negative(now) : is_negative(point[p + j]);
          const Lanes turn = 4.0F * magnitude(now * point[p + j]) * inverse[p + j] * inverse[p + j];
          flip = smaller(flip, turn);
        }
        spread(p + j, point[p + j], &t);
      }
    }
    if (kEven && any(odd)) {
      Lanes least = every_lane(HUGE_VALF);
      LaneInts at{};
      for (std::size_t j = 0; j < kUnit; ++j) {
        Unit flipped = point;
        flipped[j] = -flipped[j];
        const Lanes cost = cost_of(flipped);
        at = cost < least ? every_lane(static_cast<int32_t>(j)) : at;
        least = smaller(least, cost);
      }
      for (std::size_t j = 0; j < kUnit; ++j) {
        const LaneInts here = odd & (at == every_lane(static_cast<int32_t>(j)));
        point[j] = here ? -point[j] : point[j];
      }
    }
    return point;
  };
  const Unit before = *q;
  Lanes bar = cost_of(before) * kClearly;
  LaneInts improved{};
  Unit best = before;
  for (std::size_t first = 0; first < kUnit; first += length) {
    const Unit point = choose_from(first);
    const Lanes cost = cost_of(point);
    const LaneInts better = cost < bar;
    bar = better ? cost : bar;
    improved |= better;
    for (std::size_t j = 0; j < kUnit; ++j) best[j] = better ? point[j] : best[j];
  }
  *q = best;
  return improved;
}

LaneInts Codebook::improve(const Unit& target, const Unit& step, const float* u, Unit* q) const {
  if (even_signs_) return improve_point<true>(target, step, u, q);
  return improve_point<false>(target, step, u, q);
}

int64_t Codebook::find(const uint8_t* codes) const {
  const auto half = static_cast<int>(magnitude_.size());
  std::array<uint8_t, kUnit> word{};
  for (std::size_t j = 0; j < static_cast<std::size_t>(length_); ++j) {
    const int c = codes[j];
    word[j] = static_cast<uint8_t>(c < half ? half - 1 - c : c - half);
  }
  const auto at = std::lower_bound(word_.begin(), word_.end(), word);
  return at != word_.end() && *at == word ? at - word_.begin() : -1;
}

bool Codebook::has(const uint8_t* codes) const {
  for (int64_t j = 0; j < kUnit; j += length_) {
    if (find(codes + j) < 0) return false;
  }
  if (!even_signs_) return true;
  const auto negative = [&](uint8_t c) { return c < magnitude_.size(); };
  return std::count_if(codes, codes + kUnit, negative) % 2 == 0;
}

uint8_t Codebook::parts(const uint8_t* codes, uint16_t* words) const {
  for (int64_t j = 0; j < kUnit; j += length_) {
    const int64_t at = find(codes + j);
    COLDPRESS_CHECK(at >= 0);
    words[j / length_] = number_[static_cast<std::size_t>(at)];
  }
  unsigned signs = 0;
  for (std::size_t j = 0; j < kUnit; ++j) {
    signs |= static_cast<unsigned>(codes[j] < magnitude_.size()) << j;
  }
  return static_cast<uint8_t>(signs);
}

uint8_t Codebook::code(float level) const {
  const auto at = std::lower_bound(levels_.begin(), levels_.end(), level);
  COLDPRESS_CHECK(at != levels_.end() && *at == level);
  return static_cast<uint8_t>(at - levels_.begin());
}

void Codebook::nearest_codes(const float* wanted, const float* weight, uint8_t* codes) const {
  Unit target{};
  Unit step{};
  for (std::size_t j = 0; j < kUnit; ++j) {
    const float root = std::sqrt(weight[j]);
    target[j] = every_lane(wanted[j] * root);
    step[j] = every_lane(root);
  }
  Unit level;
  nearest(target, step, &level);
  for (std::size_t j = 0; j < kUnit; ++j) codes[j] = code(level[j][0]);
}

}  // namespace coldpress
