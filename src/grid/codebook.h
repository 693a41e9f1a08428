// Grids whose columns are chosen together: 8 consecutive columns, a unit, take one or two codewords
// of a book of magnitudes, and signs. The nearest point of such a grid is a search over the book;
// it runs for 16 problems side by side (grid/lanes.h).
//
// All values are in levels: what a scale of 1 gives. Not for scales, nor for how a unit is stored.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/view.h"
#include "grid/grid.h"
#include "grid/lanes.h"

namespace coldpress {

class Codebook {
 public:
  static constexpr int64_t kUnit = kColumnsOfABook;
  // A problem of each lane: what column j should be, and what a level of 1 adds to it.
  using Unit = std::array<Lanes, kUnit>;

  // words (count, 4 or 8): magnitudes above 0, at most 8 different ones. even_signs: the number of
  // columns below 0 in a unit is even.
  Codebook(View2<const float> words, bool even_signs);

  int64_t length() const { return length_; }  // columns of a codeword
  int64_t words() const { return static_cast<int64_t>(word_.size()); }
  // Of both signs, ascending; a code is a place in it.
  std::span<const float> levels() const { return levels_; }

  // level <- the levels with the least sum_j (target_j - step_j level_j)^2; step_j >= 0. Whatever
  // the numbers are, a point of the grid.
  void nearest(const Unit& target, const Unit& step, Unit* level) const;

  // Looks for a point that is better than `q` (step_j times a level, of each lane) in
  //   sum_j e_j^2,  e_j = (t_j - q_j) / u_jj,  t_k -= u_jk e_j for k > j,
  // which is error feedback inside the unit, and |R (t - q)|^2 for R^T R = (u^T u)^-1. u: rows of
  // kUnit, upper triangular. Lanes where it finds one get it; the result is their mask.
  LaneInts improve(const Unit& target, const Unit& step, const float* u, Unit* q) const;

  // Whether the codes of a unit are a point of the grid.
  bool has(const uint8_t* codes) const;
  // Of codes that are one: the number of each codeword, in the order of the constructor, and bit j
  // of the result where column j is below 0.
  uint8_t parts(const uint8_t* codes, uint16_t* words) const;
  // The codes nearest to `wanted` levels, each column weighed by weight >= 0.
  void nearest_codes(const float* wanted, const float* weight, uint8_t* codes) const;
  uint8_t code(float level) const;

 private:
  static constexpr int64_t kMagnitudes = 8;

  // A magnitude of one column, after those of its parents: the book as a tree, in the order of a
  // walk.
  struct Node {
    float magnitude;
    int32_t depth;  // the column of the codeword
    int32_t next;   // the node after this one's subtree
    int32_t word;   // of a leaf
  };
  struct Found {
    Lanes cost;
    LaneInts word;
  };

  void make_halves();
  void make_tree();
  int64_t find(const uint8_t* codes) const;  // position in word_, or -1
  float level_of(int32_t word, int64_t column) const {
    return magnitude_[word_[static_cast<std::size_t>(word)][static_cast<std::size_t>(column)]];
  }

  template <bool kEven>
  void nearest_point(const Unit& target, const Unit& step, Unit* level) const;
  template <bool kEven>
  std::array<Found, 2> search(const Lanes* target, const Lanes* step) const;
  template <bool kEven>
  LaneInts improve_point(const Unit& target, const Unit& step, const float* u, Unit* q) const;
  template <bool kEven>
  void walk(const Lanes* target, const Lanes* step, const Lanes* inverse, const float* u,
            LaneInts odd, Lanes flip, Found* found) const;

  int64_t length_;
  bool even_signs_;
  std::vector<float> magnitude_;  // ascending
  std::vector<float> levels_;
  // In lexical order: the places in magnitude_ of each column (0 beyond length_), and the
  // constructor's number.
  std::vector<std::array<uint8_t, kUnit>> word_;
  std::vector<uint16_t> number_;
  // Each codeword is two halves of length_ / 2 columns; the different ones, and each word's.
  std::array<std::vector<std::array<uint8_t, kUnit / 2>>, 2> half_;
  std::vector<std::array<uint16_t, 2>> halves_of_;
  std::vector<Node> tree_;
};

}  // namespace coldpress
